"""Errors come back whole from a worker process."""

import pickle

import pytest

from nnanomaly.utilities.errors import ConfigurationError, DataError, EnvironmentFault, IntegrityError, UserError


@pytest.mark.parametrize("kind", [ConfigurationError, DataError, EnvironmentFault, IntegrityError])
def test_an_error_keeps_kind_code_and_text_on_its_way_between_processes(kind: type[UserError]) -> None:
    error = kind("IO-CRC", "a.nii.gz lacks its end")
    back = pickle.loads(pickle.dumps(error))
    assert (type(back), back.code, str(back)) == (kind, "IO-CRC", "[NNA-IO-CRC] a.nii.gz lacks its end")

"""The libraries that only the DICOM commands need."""

import importlib.util

from nnanomaly.utilities.errors import EnvironmentFault

LIBRARIES = ("pydicom", "highdicom")


def require_extra() -> None:
    """Raise `EnvironmentFault` (ENV-DICOM) with the line to type where a library of the extra `dicom` is absent."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise EnvironmentFault(
            "ENV-DICOM",
            f"{', '.join(missing)} cannot be imported, which DICOM needs. In the folder of nnanomaly, type: "
            'pip install -c constraints.txt ".[dicom]"',
        )

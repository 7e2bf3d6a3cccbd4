"""Padding of CT: known by its values, whatever program stored it, seen as air, and in no statistic."""

import numpy as np
import pytest

from nnanomaly.imageio.voxel_values import AIR_HU, find_padding, measured_values, padding_as_air

BODY = np.array([-1000.0, -50.0, 40.0, 3071.0, 30_710.0], np.float32)


@pytest.mark.parametrize("padding", [-2000.0, -3024.0, -32768.0, 62_512.0, 64_511.0, 31_743.0])
def test_padding_is_air_and_in_no_statistic(padding: float) -> None:
    hu = np.append(BODY, np.float32(padding))
    assert find_padding(hu).tolist() == [False] * 5 + [True]
    assert padding_as_air(hu).tolist() == [*BODY.tolist(), AIR_HU]
    assert measured_values(hu).tolist() == BODY.tolist()


def test_a_border_at_the_end_of_12_bits_is_air_already_and_in_no_statistic() -> None:
    hu = np.append(BODY, np.float32(-1024))
    assert not find_padding(hu).any()
    assert measured_values(hu).tolist() == BODY.tolist()


def test_a_scan_without_padding_is_the_same_array() -> None:
    assert padding_as_air(BODY) is BODY

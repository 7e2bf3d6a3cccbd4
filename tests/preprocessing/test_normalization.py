import numpy as np
import pytest

from nnanomaly.preprocessing.normalization import denormalise, normalise

WINDOW = (-200.0, 300.0)


def test_window_is_mapped_to_minus_one_and_one_and_clipped() -> None:
    hu = np.array([-3024, -200, -75, 50, 300, 32767], dtype=np.int16)
    expected = np.array([-1, -1, -0.5, 0, 1, 1], dtype=np.float32)
    found = normalise(hu, WINDOW)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32


@pytest.mark.parametrize("window", [WINDOW, (-1000.0, 3000.0), (-0.1, 0.3)])
def test_denormalise_inverts_normalise_within_the_window(window: tuple[float, float]) -> None:
    hu = np.linspace(*window, 1001).reshape(7, 11, 13)
    values = normalise(hu, window)
    assert values.min() == -1 and values.max() == 1
    np.testing.assert_allclose(denormalise(values, window), hu, atol=1e-6 * (window[1] - window[0]))


def test_denormalise_does_not_clip() -> None:
    np.testing.assert_array_equal(denormalise(np.array([-2.0, 2.0]), WINDOW), [-450, 550])

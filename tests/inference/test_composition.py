"""Patches back onto the scan: no seams, no padding, no dependence on order."""

import numpy as np
import pytest

from nnanomaly.inference.composition import autoencoded_over_scan, compose, over_scan
from nnanomaly.volume import Grid, Volume, canonical_grid

SCAN = Grid((30, 40, 20), (2.0, 1.0, 1.5), (0.0, 0.0, 0.0))


def patch(center: tuple[float, float, float], value: float) -> tuple[Grid, np.ndarray, np.ndarray]:
    grid = canonical_grid(center, (16, 16, 16), (1.5, 1.5, 1.5))
    return grid, np.full((1, 16, 16, 16), value, np.float32), np.ones((16, 16, 16), bool)


def test_a_constant_field_in_overlapping_tiles_has_no_seam() -> None:
    composite = compose([patch((20.0, 15.0, 14.0), 7.0), patch((32.0, 20.0, 16.0), 7.0)], SCAN)
    assert composite is not None
    assert np.abs(composite.maps[0][composite.coverage] - 7.0).max() < 1e-3
    assert (composite.maps[0][~composite.coverage] == 0).all()


def test_the_order_of_the_patches_does_not_matter() -> None:
    pieces = [patch((20.0, 15.0, 14.0), 1.0), patch((32.0, 20.0, 16.0), 2.0), patch((26.0, 18.0, 10.0), 5.0)]
    first, second = compose(pieces, SCAN), compose(pieces[::-1], SCAN)
    assert first is not None and second is not None
    assert first.box == second.box
    assert first.maps == pytest.approx(second.maps, abs=1e-5)


def test_in_the_overlap_the_value_lies_between_those_of_the_patches() -> None:
    composite = compose([patch((20.0, 15.0, 14.0), 1.0), patch((32.0, 15.0, 14.0), 3.0)], SCAN)
    assert composite is not None
    middle = composite.maps[0, 13 - composite.box.start[0], 15 - composite.box.start[1], 9 - composite.box.start[2]]
    assert middle == pytest.approx(2.0, abs=0.2)


def test_padding_never_contributes() -> None:
    grid, values, covered = patch((20.0, 15.0, 14.0), 1.0)
    covered[:8] = False
    values[:, :8] = 1000.0
    composite = compose([(grid, values, covered)], SCAN)
    assert composite is not None
    assert composite.coverage.any()
    assert composite.maps[0][composite.coverage] == pytest.approx(1.0, abs=1e-4)
    heights = np.argwhere(composite.coverage)[:, 0] + composite.box.start[0]
    assert (heights * 2.0).min() > 20.0 - 1.5


def test_a_patch_outside_the_scan_gives_nothing() -> None:
    assert compose([patch((500.0, 0.0, 0.0), 1.0)], SCAN) is None
    assert compose([], SCAN) is None


def test_every_map_lies_over_its_own_background() -> None:
    grid, _, covered = patch((26.0, 18.0, 14.0), 0.0)
    maps = np.stack([np.full(grid.shape, value, np.float32) for value in (3.0, 100.0, 120.0)])
    composite = compose([(grid, maps, covered)], SCAN)
    assert composite is not None
    scan = Volume(np.full((1, *SCAN.shape), -50, np.int16), SCAN)
    whole = np.zeros(SCAN.shape, dtype=bool)
    whole[composite.box.slices] = composite.coverage
    assert 0 < whole.mean() < 1
    for found, inside, outside in zip(
        (*over_scan(composite, scan), autoencoded_over_scan(composite, scan)), (3, 100, 120), (0, -50, -50), strict=True
    ):
        np.testing.assert_allclose(found, np.where(whole, inside, outside), atol=1e-3)
    np.testing.assert_array_equal(autoencoded_over_scan(None, scan), np.full(SCAN.shape, -50))

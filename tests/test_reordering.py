"""The 48 storage orders of a scan are one scan; whatever else differs is named."""

from itertools import permutations, product
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nnanomaly.evaluation.boxes import boxes_of, reordered_boxes
from nnanomaly.imageio.nifti import read_labels, write_volume
from nnanomaly.reordering import Reordering, difference, reordering_onto, reoriented, require_on_grid
from nnanomaly.roi.components import find_components
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Box, Grid, Volume

SHAPE = (3, 4, 5)
ORDERS = [
    Reordering(shape=SHAPE, axes=axes, flipped=flipped)  # type: ignore[arg-type]
    for axes in permutations(range(3))
    for flipped in product((False, True), repeat=3)
]
TILT = tuple(tuple(row) for row in Rotation.from_euler("zyx", (7, -11, 5), degrees=True).as_matrix().tolist())
STRAIGHT = Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0))
OBLIQUE = Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0), TILT)  # type: ignore[arg-type]
NUMBERED = np.arange(60, dtype=np.int16).reshape(1, *SHAPE)


def place_of_every_value(volume: Volume) -> np.ndarray:
    """World positions `[60, 3]` in the order of the values, from the affine alone."""
    index = np.argwhere(np.ones(volume.grid.shape, bool))
    return volume.grid.to_world(index)[np.argsort(volume.array[0].ravel())]


def test_there_are_48_orders() -> None:
    assert len({(order.axes, order.flipped) for order in ORDERS}) == 48


@pytest.mark.parametrize("grid", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_a_reordered_volume_has_every_value_where_it_was_and_comes_back_unchanged(
    order: Reordering, grid: Grid
) -> None:
    whole = Volume(NUMBERED, grid)
    stored = Volume(order.array(NUMBERED), order.grid(grid))
    np.testing.assert_allclose(place_of_every_value(stored), place_of_every_value(whole), atol=1e-9)
    back = reoriented(stored, grid)
    assert back is not None
    assert back.grid == grid
    np.testing.assert_array_equal(back.array, NUMBERED)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_boxes_follow_their_voxels(order: Reordering) -> None:
    mask = np.zeros((1, *SHAPE), bool)
    mask[0, 1:3, 0:2, 3] = True
    moved = order.array(mask)[0]
    own, turned = find_components(mask[0]), find_components(moved)
    assert order.box(own[0].box) == turned[0].box
    np.testing.assert_array_equal(reordered_boxes(boxes_of(own), order), boxes_of(turned))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LPI", "IPL", "SAR", "PIR"])
def test_a_mask_that_nibabel_stores_in_another_order_is_the_same_mask(codes: str, tmp_path: Path) -> None:
    write_volume(tmp_path / "own.nii.gz", Volume(NUMBERED, OBLIQUE))
    own = nibabel.load(tmp_path / "own.nii.gz")
    wanted = nibabel.orientations.axcodes2ornt(tuple(codes))
    turn = nibabel.orientations.ornt_transform(nibabel.io_orientation(own.affine), wanted)
    nibabel.save(own.as_reoriented(turn), tmp_path / "other.nii.gz")
    expected = read_labels(tmp_path / "own.nii.gz")
    found = require_on_grid(read_labels(tmp_path / "other.nii.gz"), "other", grid=expected.grid, image="own")
    assert found.grid == expected.grid
    np.testing.assert_array_equal(found.array, expected.array)


def test_an_array_in_its_own_order_is_not_copied() -> None:
    order = reordering_onto(STRAIGHT, STRAIGHT)
    assert order is not None and order.changes_nothing
    assert order.array(NUMBERED) is NUMBERED


FLIP = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
SLIGHT = tuple(tuple(row) for row in Rotation.from_euler("x", 3, degrees=True).as_matrix().tolist())


@pytest.mark.parametrize(
    ("stored", "causes"),
    [
        (Grid((3, 4, 6), (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0)), ["its shape is (3, 4, 6), not (3, 4, 5)"]),
        (Grid(SHAPE, (3.0, 1.0, 2.5), (-10.0, 20.0, 35.0)), ["its voxels measure 3 x 1 x 2.5 mm, not 3 x 1 x 2 mm"]),
        (Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 23.0, 39.0)), ["shifted by 5 mm (z, y, x: 0, 3, 4)"]),
        # A sign that was turned without the origin: it runs from 35 down to 27 instead of up to 43.
        (Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0), FLIP), ["shifted by 8 mm (z, y, x: 0, 0, -8)"]),
        (Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0), SLIGHT), ["rotated by 3 degrees"]),  # type: ignore[arg-type]
        # Half the voxels in another order: shape and spacing are told in the order of the image.
        (
            Grid((5, 2, 3), (2.0, 2.0, 3.0), (-10.0, 20.5, 35.0), ((0, 0, 1), (0, 1, 0), (1, 0, 0))),
            ["its shape is (3, 2, 5), not (3, 4, 5)", "its voxels measure 3 x 2 x 2 mm, not 3 x 1 x 2 mm"],
        ),
    ],
    ids=["shape", "spacing", "shift", "flip", "rotation", "coarser"],
)
def test_what_needs_interpolation_is_refused_with_its_cause_and_no_other(stored: Grid, causes: list[str]) -> None:
    volume = Volume(np.zeros((1, *stored.shape), np.uint8), stored)
    assert reoriented(volume, STRAIGHT) is None
    with pytest.raises(DataError, match=r"GEO-PAIR\] mask does not lie on the grid of image: ") as raised:
        require_on_grid(volume, "mask", grid=STRAIGHT, image="image")
    assert all(cause in str(raised.value) for cause in causes)
    others = {"shape", "measure", "shifted", "rotated"} - {word for cause in causes for word in cause.split()}
    assert not any(word in difference(stored, STRAIGHT) for word in others)


def test_the_rounding_of_headers_is_no_difference_and_more_is() -> None:
    near = Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 20.0, 35.0001))
    assert reordering_onto(near, STRAIGHT) is not None
    far = Grid(SHAPE, (3.0, 1.0, 2.0), (-10.0, 20.0, 35.05))
    assert reordering_onto(far, STRAIGHT) is None
    assert reordering_onto(far, STRAIGHT, tolerance_mm=0.1) is not None


def test_a_box_at_the_border_of_a_flipped_axis() -> None:
    order = Reordering(shape=SHAPE, axes=(2, 1, 0), flipped=(True, False, True))
    assert order.box(Box((0, 1, 4), (1, 3, 5))) == Box((0, 1, 2), (1, 3, 3))

"""Planes, letters and outlines against volumes whose organs lie at places known from the world alone."""

import numpy as np
import pytest
from numpy.typing import NDArray

from nnanomaly.preprocessing.overlay_figure import OutlinedOrgan, display_grid, fullest_planes, overlay_figure, plane
from nnanomaly.volume import Grid, Triple, Volume

WINDOW = (-160.0, 240.0)
LEFT_OF_PATIENT, RIGHT_OF_PATIENT = 20.0, -20.0
DIRECTIONS = {
    "canonical": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "mirrored and turned": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0)),
}


def grid_around_zero(direction: tuple[Triple, Triple, Triple]) -> Grid:
    """40 x 40 x 40 voxels of 2 mm whose middle is the world's origin."""
    grid = Grid((40, 40, 40), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), direction)
    origin = -grid.to_world(np.full(3, 19.5))
    return Grid(grid.shape, grid.spacing_mm, (float(origin[0]), float(origin[1]), float(origin[2])), direction)


def ball(grid: Grid, centre: Triple, radius: float) -> NDArray[np.uint8]:
    index = np.moveaxis(np.indices(grid.shape), 0, -1).astype(float)
    return (np.linalg.norm(grid.to_world(index) - np.asarray(centre), axis=-1) <= radius).astype(np.uint8)[None]


def organ_at(grid: Grid, centre: Triple, name: str, *, text: str = "healthy") -> OutlinedOrgan:
    return OutlinedOrgan(name=name, text=text, suspicious=False, mask=Volume(ball(grid, centre, 8.0), grid))


@pytest.mark.parametrize("name", DIRECTIONS)
def test_an_organ_left_of_the_patient_is_drawn_at_the_letter_l_however_the_file_is_stored(name: str) -> None:
    grid = grid_around_zero(DIRECTIONS[name])
    centre = (10.0, -15.0, LEFT_OF_PATIENT)  # above, in front, left
    image = Volume(np.where(ball(grid, centre, 8.0), 200.0, -100.0).astype(np.float32), grid)
    organ = organ_at(grid, centre, "kidney_left")
    figure = overlay_figure("case", image, [organ], window_hu=WINDOW)
    for axes in figure.axes:
        at = {text.get_text(): text.get_position() for text in axes.texts}
        picture = np.asarray(axes.images[0].get_array())
        row, column = np.argwhere(picture > 0).mean(axis=0) / picture.shape
        outline = np.concatenate([path.vertices for path in axes.collections[0].get_paths()])
        assert np.allclose(outline.mean(axis=0)[::-1] / picture.shape, (row, column), atol=0.03)
        for letter in set(at) & set("LAS"):
            x, y = at[letter]  # of the axes, y upwards
            along = column - 0.5 if x != 0.5 else 0.5 - row
            side = x - 0.5 if x != 0.5 else y - 0.5
            assert along * side > 0, (axes.get_title(), letter)


def test_planes_cut_as_much_of_every_organ_as_they_can() -> None:
    grid = grid_around_zero(DIRECTIONS["canonical"])
    shown = display_grid(grid)
    masks = [Volume(ball(grid, (z, 6.0, x), radius), grid) for z, x, radius in ((10.0, 20.0, 8.0), (10.0, -20.0, 4.0))]
    z, y, _ = fullest_planes(masks, shown)
    assert abs(plane(shown, 0, z).origin_mm[0] - 10.0) <= 2.0
    assert abs(plane(shown, 1, y).origin_mm[1] - 6.0) <= 2.0
    assert fullest_planes([], shown) == [40, 40, 40]


def test_a_long_scan_is_shown_in_a_bounded_number_of_pixels() -> None:
    grid = Grid((2000, 50, 50), (1.0, 4.0, 4.0), (0.0, 0.0, 0.0))
    assert max(display_grid(grid).shape) == 512


def test_every_organ_has_its_line_with_or_without_a_mask_and_suspicious_ones_are_red() -> None:
    grid = grid_around_zero(DIRECTIONS["canonical"])
    image = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    absent = OutlinedOrgan(name="spleen", text="no mask", suspicious=True, mask=None)
    organs = [organ_at(grid, (0.0, 0.0, RIGHT_OF_PATIENT), "kidney_right"), absent]
    figure = overlay_figure("case", image, organs, window_hu=WINDOW)
    lines = {text.get_text(): text.get_color() for text in figure.texts}
    assert lines["kidney_right (cyan): healthy"] == "black"
    assert lines["spleen (orange): no mask"] == "red"

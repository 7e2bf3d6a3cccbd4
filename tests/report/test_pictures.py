import numpy as np

from nnanomaly.report.pictures import cut, outline, overlay_map, plane_sizes, signed, stack, window


def test_superior_and_anterior_are_up_and_the_right_of_the_patient_is_on_the_left() -> None:
    array = np.zeros((3, 4, 5))
    array[2, 0, 0] = 1  # superior, anterior, right
    axial, coronal, sagittal = cut(array, (2, 0, 0))
    assert [tuple(np.argwhere(plane)[0]) for plane in (axial, coronal, sagittal)] == [(0, 0), (0, 0), (0, 0)]


def test_pixels_are_square_millimetres() -> None:
    sizes = plane_sizes(np.zeros((10, 50, 100)), (10.0, 1.0, 1.0))
    assert sizes == [(100, 200), (200, 200), (200, 100)]


def test_the_window_ends_in_black_and_white_and_a_residual_of_nothing_is_pale() -> None:
    assert window(np.array([[-160.0, 240.0, 900.0]]))[0, :, 0].tolist() == [0, 255, 255]
    darker, none, brighter = signed(np.array([[-300.0, 0.0, 300.0]]))[0].astype(int)
    assert none.min() > 240
    assert darker[2] > darker[0]
    assert brighter[0] > brighter[2]


def test_the_map_leaves_what_is_under_its_range() -> None:
    picture = np.full((1, 2, 3), 100, np.uint8)
    shown = overlay_map(picture, np.array([[1.0, 5.0]]), (2.0, 4.0))
    assert shown[0, 0].tolist() == [100, 100, 100]
    assert shown[0, 1].tolist() != [100, 100, 100]


def test_an_outline_has_the_colour_of_its_kind_and_leaves_the_inside() -> None:
    labels = np.zeros((7, 7), np.uint8)
    labels[1:6, 1:6] = 3
    drawn = outline(np.zeros((7, 7, 3), np.uint8), labels)
    assert drawn[1, 3].tolist() == [213, 94, 0]
    assert drawn[3, 3].tolist() == [0, 0, 0]


def test_narrow_pictures_stand_in_the_middle() -> None:
    whole = stack([np.full((2, 6, 3), 1, np.uint8), np.full((1, 2, 3), 2, np.uint8)])
    assert whole.shape == (7, 6, 3)
    assert whole[6, :, 0].tolist() == [0, 0, 2, 2, 0, 0]

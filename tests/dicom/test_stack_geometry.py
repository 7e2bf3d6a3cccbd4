"""Slices by hand: where they lie, and when they lie regularly enough."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.dicom.headers import SliceHeader
from nnanomaly.dicom.stack_geometry import distance_warnings, stack_geometry
from nnanomaly.utilities.errors import DataError

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def stack(positions: Sequence[Sequence[float]], **changes: object) -> list[SliceHeader]:
    first = SliceHeader(
        path=Path("a"),
        series_uid="1",
        instance_uid="0",
        patient="p",
        sop_class="",
        transfer_syntax="",
        image_type=(),
        shape=(12, 10),
        samples_per_pixel=1,
        bits_allocated=16,
        photometric="",
        num_frames=1,
        orientation=AXIAL,
        position_mm=(0.0, 0.0, 0.0),
        pixel_spacing_mm=(0.8, 0.7),
        rescale=(1.0, 0.0),
        rescale_type="HU",
        rescale_fault="",
        signed=False,
        bits_stored=16,
        padding=None,
        secondary=False,
        burned_in=False,
        traits={},
        instance_number=None,
        seconds=None,
        step_mm=None,
        thickness_mm=None,
        lossy=False,
    )
    first = replace(first, **changes)
    return [
        replace(first, position_mm=tuple(place), instance_uid=str(number)) for number, place in enumerate(positions)
    ]


def along_z(z_mm: Sequence[float]) -> list[tuple[float, float, float]]:
    return [(-3.0, 5.0, float(z)) for z in z_mm]


def code_of(headers: Sequence[SliceHeader]) -> str:
    with pytest.raises(DataError) as caught:
        stack_geometry(headers)
    return caught.value.code


def test_files_in_any_order_become_a_grid_from_the_lowest_slice_up() -> None:
    geometry = stack_geometry(stack(along_z(100 - 2.5 * np.arange(20))))
    assert geometry.grid.shape == (20, 12, 10)
    assert geometry.grid.spacing_mm == (2.5, 0.8, 0.7)
    assert geometry.grid.origin_mm == (52.5, 5.0, -3.0)
    assert geometry.grid.direction == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    assert [header.instance_uid for header in geometry.headers] == [str(number) for number in range(19, -1, -1)]
    assert geometry.drift_mm == (0.0, 0.0)


def test_axes_of_a_rotated_stack_are_columns_of_the_direction_in_world_order() -> None:
    """Rows run towards posterior, columns towards superior, so slices follow each other towards left."""
    positions = [(3.0 * number, 0.0, 0.0) for number in range(16)]
    grid = stack_geometry(stack(positions, orientation=(0, 1, 0, 0, 0, 1))).grid
    slices, columns, rows = np.array(grid.direction).T
    assert slices.tolist() == [0, 0, 1]
    assert columns.tolist() == [1, 0, 0]
    assert rows.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("offset_mm", "taken"), [(0.0, True), (0.045, True), (0.06, False)], ids=["exact", "rounded", "shifted"]
)
def test_distances_may_differ_by_what_a_header_rounds_away(offset_mm: float, taken: bool) -> None:
    z_mm = 1.0 * np.arange(20)
    z_mm[8] += offset_mm
    headers = stack(along_z(z_mm))
    if taken:
        assert stack_geometry(headers).grid.spacing_mm[0] == pytest.approx(1.0)
    else:
        assert code_of(headers) == "DCM-INCREMENT"


def test_a_distance_that_changes_too_slowly_for_any_gap_to_show_it_is_noticed() -> None:
    gaps = np.linspace(1.0, 1.08, 60)
    assert code_of(stack(along_z([0.0, *np.cumsum(gaps)]))) == "DCM-INCREMENT"


def test_missing_slices_are_counted_over_all_gaps() -> None:
    z_mm = np.delete(2.0 * np.arange(24), [4, 10, 11])
    with pytest.raises(DataError, match="3 slices are missing: between slices 4 and 5 lie 4 mm, elsewhere 2 mm"):
        stack_geometry(stack(along_z(z_mm)))


def test_a_copy_is_told_with_the_number_of_its_slice() -> None:
    geometry = stack_geometry(stack(along_z([*2.0 * np.arange(16), 6.0])))
    assert [(number, header.instance_uid) for number, header in geometry.copies] == [(3, "16")]
    assert geometry.grid.shape[0] == 16


def test_slices_that_leave_their_line_are_no_tilt() -> None:
    positions = along_z(2.0 * np.arange(20))
    positions[9] = (-3.0, 5.2, 18.0)
    assert code_of(stack(positions)) == "DCM-INCREMENT"


def test_a_tilt_is_the_angle_between_normal_and_line() -> None:
    angle = np.radians(20)
    positions = [(0.0, 2 * number * np.sin(angle), 2 * number * np.cos(angle)) for number in range(16)]
    geometry = stack_geometry(stack(positions))
    assert geometry.tilt_degrees == pytest.approx(20)
    assert geometry.drift_mm == pytest.approx((2 * np.sin(angle), 0.0))
    assert geometry.grid.spacing_mm[0] == pytest.approx(2 * np.cos(angle))
    straight = [(0.0, 2 * number * np.sin(0.0015), 2 * number) for number in range(16)]
    assert stack_geometry(stack(straight)).tilt_degrees == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"orientation": None}, "DCM-GEOMETRY"),
        ({"orientation": (1, 0, 0, 0.1, 1, 0)}, "DCM-GEOMETRY"),
        ({"orientation": (0, 0, 0, 0, 1, 0)}, "DCM-GEOMETRY"),
        ({"pixel_spacing_mm": None}, "DCM-SPACING"),
        ({"pixel_spacing_mm": (0.0, 0.7)}, "DCM-SPACING"),
        ({"pixel_spacing_mm": (0.8, 700.0)}, "DCM-SPACING"),
    ],
)
def test_a_stack_without_geometry_is_refused(changes: dict[str, object], code: str) -> None:
    assert code_of(stack(along_z(2.0 * np.arange(16)), **changes)) == code


def test_a_slice_that_differs_from_the_others_is_refused() -> None:
    headers = stack(along_z(2.0 * np.arange(16)))
    assert code_of([*headers[:-1], replace(headers[-1], position_mm=None)]) == "DCM-GEOMETRY"
    assert code_of([*headers[:-1], replace(headers[-1], pixel_spacing_mm=(0.8, 0.8))]) == "DCM-SPACING"
    assert code_of(headers[:-1]) == "DCM-SHORT"
    assert code_of(stack(along_z([1.0] * 16))) == "DCM-POSITION"
    assert code_of(stack(along_z(30.0 * np.arange(16)))) == "DCM-SPACING"


def test_every_number_twice_is_two_scans() -> None:
    slices = stack([(0, 0, 2.0 * number) for number in range(20)])
    mixed = [replace(header, instance_number=number // 2) for number, header in enumerate(slices)]
    with pytest.raises(DataError, match="DCM-MIXED.*only 10 instance numbers"):
        stack_geometry(mixed)


def test_every_second_slice_of_a_scan_is_no_scan() -> None:
    slices = stack([(0, 0, 4.0 * number) for number in range(20)])
    second = [replace(header, instance_number=2 * number, step_mm=2.0) for number, header in enumerate(slices)]
    with pytest.raises(DataError, match="DCM-MISSING.*only one in 2 is there"):
        stack_geometry(second)
    numbered = [replace(header, instance_number=number, step_mm=2.0) for number, header in enumerate(slices)]
    (warning,) = distance_warnings(stack_geometry(numbered))
    assert warning == "Spacing Between Slices says 2 mm, the positions 4 mm"


def test_thin_slices_far_apart_are_said() -> None:
    slices = stack([(0, 0, 10.0 * number) for number in range(20)], thickness_mm=1.0)
    (warning,) = distance_warnings(stack_geometry(slices))
    assert warning.startswith("slices of 1 mm lie 10 mm apart")

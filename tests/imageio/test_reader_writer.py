from pathlib import Path

import pytest

from nnanomaly.imageio.reader_writer import NIFTI, check_thickness, reader_writer_for
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid


@pytest.mark.parametrize("name", ["case_0000.nii.gz", "case_0000.nii", "a.b.nii.gz"])
def test_nifti_endings_are_known(name: str) -> None:
    assert reader_writer_for(Path(name)) is NIFTI


@pytest.mark.parametrize("name", ["case.gipl", "case.gz", "case", "case.NII"])
def test_other_endings_are_refused_with_the_list(name: str) -> None:
    with pytest.raises(DataError, match=r"IO-FORMAT.*\.nii\.gz, \.nii"):
        reader_writer_for(Path(name))


@pytest.mark.parametrize(
    ("shape", "spacing", "thick_enough"),
    [
        ((8, 20, 20), (2.0, 1.0, 1.0), True),
        ((7, 20, 20), (5.0, 1.0, 1.0), False),
        ((20, 20, 8), (1.0, 1.0, 1.9), False),
    ],
)
def test_a_volume_needs_eight_voxels_and_sixteen_millimetres(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], thick_enough: bool
) -> None:
    grid = Grid(shape, spacing, (0.0, 0.0, 0.0))
    if thick_enough:
        check_thickness(grid, Path("case.nii.gz"))
    else:
        with pytest.raises(DataError, match=r"GEO-THIN\] case\.nii\.gz"):
            check_thickness(grid, Path("case.nii.gz"))

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest

from nnanomaly.dataset.organ_labels import load_organ_labels
from nnanomaly.dataset.organ_mask_files import find_organ_mask
from nnanomaly.dataset.raw_dataset import image_files, load_description, training_cases
from nnanomaly.dataset_conversion.phantom import PhantomSettings
from nnanomaly.dataset_conversion.phantom_dataset import (
    ORIENTATIONS,
    draw_diameters,
    oriented_grid,
    write_phantom_dataset,
)
from nnanomaly.imageio.nifti import read_grid, read_labels, read_volume
from nnanomaly.utilities.errors import ConfigurationError

SETTINGS = PhantomSettings(spacing_mm=(4.0, 4.0, 4.0))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "Dataset500_Phantom"
    write_phantom_dataset(folder, num_training=6, num_test=2, seed=7, settings=SETTINGS)
    return folder


def test_the_dataset_is_what_a_raw_dataset_must_be(dataset: Path) -> None:
    description = load_description(dataset)
    assert description.organs == ("kidney_left", "kidney_right")
    assert description.lesion_values == (2, 3)
    cases = training_cases(dataset)
    assert cases == [f"phantom_{number:03d}" for number in range(6)]
    for case in cases:
        (image,) = image_files(dataset / "imagesTr", case, description)
        grid = read_grid(image)
        assert read_labels(dataset / "labelsTr" / f"{case}.nii.gz").grid.largest_corner_distance_mm(grid) < 1e-2
        for organ in description.organs:
            mask = find_organ_mask(dataset / "organMasksTr", case, organ, description=description)
            assert mask is not None
            volume = read_labels(mask.path)
            assert volume.grid.largest_corner_distance_mm(grid) < 1e-2
            assert set(np.unique(volume.array)) == {0, 1}


def test_organ_labels_agree_with_the_drawn_lesions(dataset: Path) -> None:
    labels = load_organ_labels(dataset)
    assert len(labels) == 2 * 8
    for (case, organ), word in labels.items():
        part = "Tr" if (dataset / "imagesTr" / f"{case}_0000.nii.gz").exists() else "Ts"
        drawn = read_labels(dataset / f"labels{part}" / f"{case}.nii.gz")
        world = drawn.grid.to_world(np.argwhere(drawn.array[0] >= 2).astype(float))
        on_this_side = (world[:, 2] > 0) == (organ == "kidney_left")
        assert on_this_side.any() == (word == "unhealthy")


def test_reports_name_the_lesions_and_nothing_else(dataset: Path) -> None:
    labels = load_organ_labels(dataset)
    for part in ("Tr", "Ts"):
        for report in sorted((dataset / f"reports{part}").iterdir()):
            left, right = report.read_text(encoding="utf-8").splitlines()
            for organ, sentence in (("kidney_left", left), ("kidney_right", right)):
                assert sentence.startswith("Left kidney:" if organ == "kidney_left" else "Right kidney:")
                assert ("normal" in sentence) == (labels[report.stem, organ] == "healthy")
                assert (" mm" in sentence) == (labels[report.stem, organ] == "unhealthy")


def test_file_axes_change_from_case_to_case_and_one_is_tilted(dataset: Path) -> None:
    images = sorted((dataset / "imagesTr").iterdir())
    affines = [nibabel.load(path).affine for path in images]
    found = ["".join(nibabel.aff2axcodes(affine)) for affine in affines]
    assert found == [*ORIENTATIONS, ORIENTATIONS[0]]
    oblique = [float(nibabel.affines.obliquity(affine).max()) for affine in affines]
    assert oblique[:5] == pytest.approx([0] * 5, abs=1e-5)
    assert np.rad2deg(oblique[5]) == pytest.approx(5, abs=0.01)


def test_the_same_seed_writes_the_same_voxels(dataset: Path, tmp_path: Path) -> None:
    write_phantom_dataset(tmp_path / "again", num_training=6, num_test=2, seed=7, settings=SETTINGS)
    for name in ("imagesTr/phantom_003_0000.nii.gz", "labelsTs/phantom_007.nii.gz"):
        np.testing.assert_array_equal(read_volume(dataset / name).array, read_volume(tmp_path / "again" / name).array)
    assert (dataset / "organ_labels.csv").read_bytes() == (tmp_path / "again" / "organ_labels.csv").read_bytes()


def test_a_folder_with_files_is_refused(dataset: Path) -> None:
    with pytest.raises(ConfigurationError, match="CFG-OUTPUT.*not empty"):
        write_phantom_dataset(dataset, num_training=1, num_test=1, seed=0, settings=SETTINGS)


def test_shares_and_sizes_hold_exactly() -> None:
    settings = PhantomSettings(lesion_diameter_mm=(10.0, 40.0), unhealthy_share=0.5, second_lesion_share=0.2)
    cases = draw_diameters(np.random.default_rng(0), settings, num_cases=50)
    organs = [diameters for case in cases for diameters in case.values()]
    assert len(cases) == 50
    assert len(organs) == 50  # half of 100 organs
    assert sum(len(diameters) == 2 for diameters in organs) == 10
    sizes = np.sort([diameter for diameters in organs for diameter in diameters])
    np.testing.assert_array_equal(np.floor((sizes - 10) / 30 * 60), np.arange(60))  # one in each of 60 steps


def test_an_oriented_grid_has_its_axes_where_the_letters_say() -> None:
    grid = oriented_grid(PhantomSettings(spacing_mm=(5.0, 3.0, 2.0), field_of_view_mm=(50.0, 60.0, 80.0)), "IPL")
    assert grid.shape == (40, 20, 10)  # the file is (I, P, L), the array (L, P, I)
    assert grid.spacing_mm == (2.0, 3.0, 5.0)
    start, step = grid.to_world(np.zeros(3)), grid.to_world(np.array([1.0, 0, 0]))
    np.testing.assert_allclose(step - start, [0, 0, 2])
    np.testing.assert_allclose(grid.to_world(np.array([0, 0, 1.0])) - start, [-5, 0, 0])
    np.testing.assert_allclose(grid.to_world((np.array(grid.shape) - 1) / 2), [0, 0, 0], atol=1e-9)


def test_the_label_table_has_the_columns_of_the_format(dataset: Path) -> None:
    with (dataset / "organ_labels.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["case", "organ", "label", "source"]
    assert {row[2] for row in rows[1:]} == {"healthy", "unhealthy"}

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from nnanomaly.dataset.patch_store import list_patches, load_patch
from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.imageio.nifti import read_labels, write_volume
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.plans import PreprocessingPlan
from nnanomaly.preprocessing.preprocessor import preprocess_case, preprocess_dataset, read_organ_mask
from nnanomaly.preprocessing.resampling import sample_on_grid
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Grid, Volume

ORIENTATIONS = {
    "SPL": np.eye(3),
    "IPL": np.diag([-1.0, 1.0, 1.0]),
    "LAS": np.array([[0.0, 0, 1], [0, -1, 0], [1, 0, 0]]),
    "oblique": Rotation.from_euler("xyz", (8, -6, 4), degrees=True).as_matrix(),
}
PLAN = PreprocessingPlan(spacing_mm=(2.0, 2.0, 2.0), patch_size=(16, 16, 16), margin_mm=4.0, tiling=True)


def grid_of(direction, *, shape=(40, 40, 40), spacing=(2.0, 2.0, 2.0), centre=(0.0, 0.0, 0.0)):
    origin = np.asarray(centre) - (direction * np.asarray(spacing)) @ ((np.asarray(shape) - 1) / 2)
    return Grid(shape, spacing, tuple(origin), tuple(map(tuple, direction.tolist())))


def world_of(grid):
    return grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1).astype(float))


def ball(grid, centre, radius):
    inside = np.linalg.norm(world_of(grid) - np.asarray(centre), axis=-1) <= radius
    return Volume(inside[None].astype(np.uint8), grid)


def preprocess(image, mask, plan=PLAN):
    return preprocess_case(image, mask, plan, case="c", organ="k")


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_intensity_and_organ_lie_where_they_are_in_the_world(name):
    grid = grid_of(ORIENTATIONS[name], spacing=(2.5, 2.0, 1.5), centre=(100.0, -30.0, 20.0), shape=(32, 40, 52))
    hu = world_of(grid) @ np.array([1.0, 2.0, -3.0])
    (patch,) = preprocess(Volume(hu[None].astype(np.float32), grid), ball(grid, (102.0, -28.0, 22.0), 9.0))
    expected = (np.clip(world_of(patch.grid) @ np.array([1.0, 2.0, -3.0]), -200, 300) + 200) / 250 - 1
    np.testing.assert_allclose(patch.array[0], expected, atol=2e-3)
    distance = np.linalg.norm(world_of(patch.grid) - (102.0, -28.0, 22.0), axis=-1)
    assert (patch.array[1][distance < 6.5] == 1).all()
    assert (patch.array[1][distance > 12] == 0).all()
    assert (patch.array[2] == 1).all()
    np.testing.assert_allclose(patch.grid.corners_mm().mean(axis=0), patch.instance.centre_mm)
    assert (patch.case, patch.organ, patch.tile, patch.num_tiles, patch.name) == ("c", "k", 0, 1, "c__k")
    assert patch.array.dtype == np.float16
    assert (patch.organ_fraction_outside, patch.covered_fraction, patch.touches_border) == (0.0, 1.0, ())


def test_an_empty_mask_has_no_patch():
    grid = grid_of(np.eye(3))
    zeros = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    assert preprocess(zeros, zeros) == []


def test_what_lies_outside_the_scan_is_air_and_not_covered():
    grid = grid_of(np.eye(3), shape=(20, 40, 40))  # z from -20 to 20 mm
    image = Volume(np.full((1, *grid.shape), 50.0, np.float32), grid)
    (patch,) = preprocess(image, ball(grid, (14.0, 0.0, 0.0), 9.0))
    outside = world_of(patch.grid)[..., 0] > 20
    assert 0 < outside.mean() < 0.5
    np.testing.assert_array_equal(patch.array[2], ~outside)
    assert (patch.array[0][outside] == -1).all()
    assert (patch.array[1][outside] == 0).all()
    np.testing.assert_allclose(patch.array[0][~outside], 0.0, atol=1e-3)
    assert patch.covered_fraction == pytest.approx(1 - outside.mean())
    assert patch.touches_border == ("superior",)


@pytest.mark.parametrize("value", [-2000.0, -3024.0, 32767.0])
def test_scanner_padding_is_not_covered_and_does_not_ring_into_the_body(value):
    grid = grid_of(np.eye(3))
    padded = world_of(grid)[..., 2] > 8
    hu = np.where(padded, value, 50.0)
    (patch,) = preprocess(Volume(hu[None].astype(np.float32), grid), ball(grid, (0.0, 0.0, 0.0), 9.0))
    x = world_of(patch.grid)[..., 2]
    assert (patch.array[2][x > 8.01] == 0).all()
    assert (patch.array[0][x > 8.01] == -1).all()
    assert (patch.array[2][x < 7.99] == 1).all()
    np.testing.assert_allclose(patch.array[0][x < 0], 0.0, atol=0.02)


def test_air_and_dense_material_are_covered():
    grid = grid_of(np.eye(3))
    hu = np.where(world_of(grid)[..., 2] > 0, -1050.0, 3071.0)
    (patch,) = preprocess(Volume(hu[None].astype(np.float32), grid), ball(grid, (0.0, 0.0, 0.0), 9.0))
    assert patch.covered_fraction == 1.0
    assert patch.array[0].min() == -1
    assert patch.array[0].max() == 1


def test_the_share_of_the_organ_outside_its_one_patch_is_counted():
    grid = grid_of(np.eye(3))
    rod = (np.abs(world_of(grid)) <= (24.0, 5.0, 5.0)).all(axis=-1)  # 24 planes of 2 mm; the patch holds 16
    mask = Volume(rod[None].astype(np.uint8), grid)
    image = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    single = PreprocessingPlan(spacing_mm=(2.0, 2.0, 2.0), patch_size=(16, 16, 16), margin_mm=4.0, tiling=False)
    (patch,) = preprocess(image, mask, single)
    assert patch.organ_fraction_outside == pytest.approx(8 / 24)


def test_tiles_of_a_long_organ_leave_nothing_outside():
    grid = grid_of(np.eye(3))
    rod = (np.abs(world_of(grid)) <= (24.0, 5.0, 5.0)).all(axis=-1)
    image = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    patches = preprocess(image, Volume(rod[None].astype(np.uint8), grid))
    assert [(patch.tile, patch.num_tiles, patch.name) for patch in patches] == [
        (0, 3, "c__k__0"),
        (1, 3, "c__k__1"),
        (2, 3, "c__k__2"),
    ]
    assert {patch.organ_fraction_outside for patch in patches} == {0.0}


def test_stray_voxels_count_as_outside_but_do_not_move_the_patch():
    grid = grid_of(np.eye(3))
    mask = ball(grid, (0.0, 0.0, 0.0), 8.0)
    array = mask.array.copy()
    array[0, 39, 39, 39] = 1
    image = Volume(np.zeros((1, *grid.shape), np.float32), grid)
    (patch,) = preprocess(image, Volume(array, grid))
    np.testing.assert_allclose(patch.grid.corners_mm().mean(axis=0), 0, atol=1e-9)
    assert patch.organ_fraction_outside == pytest.approx(1 / array.sum())


def test_the_cropped_source_gives_what_the_whole_scan_gives():
    grid = grid_of(np.eye(3), shape=(90, 90, 90), spacing=(0.8, 0.8, 0.8))
    image = Volume(np.random.default_rng(0).normal(50, 40, (1, *grid.shape)).astype(np.float32), grid)
    plan = PreprocessingPlan(spacing_mm=(2.0, 2.0, 2.0), patch_size=(8, 8, 8), margin_mm=1.0, tiling=True)
    (patch,) = preprocess(image, ball(grid, (1.0, 0.0, 0.0), 6.0), plan)
    hu, _ = sample_on_grid(image, patch.grid, order=3, antialiasing=True, fill=0.0)
    np.testing.assert_allclose(patch.array[0], (np.clip(hu[0], -200, 300) + 200) / 250 - 1, atol=1e-3)


@pytest.fixture
def raw_folder(tmp_path):
    """Three cases with two organs: `a` sound, `b` without its left organ, `c` with its right one excluded."""
    folder, grid = tmp_path / "raw", grid_of(np.diag([-1.0, 1.0, 1.0]))
    document = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 3,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": ["left", "right"], "lesion_labels": ["tumor"]},
    }
    folder.mkdir()
    (folder / "dataset.json").write_text(json.dumps(document))
    (folder / "organ_labels.csv").write_text("case,organ,label\nc,right,excluded\na,left,healthy\n")
    image = Volume(np.full((1, *grid.shape), 50, np.int16), grid)
    image.array[0, 0, 0, 0] = 51  # a scan without any contrast is refused
    empty = Volume(np.zeros((1, *grid.shape), np.uint8), grid)
    for case in "abc":
        write_volume(folder / "imagesTr" / f"{case}_0000.nii.gz", image)
        left = empty if case == "b" else ball(grid, (0.0, 0.0, 15.0), 9.0)
        write_volume(folder / "organMasksTr" / case / "left.nii.gz", left)
        write_volume(folder / "organMasksTr" / case / "right.nii.gz", ball(grid, (0.0, 0.0, -15.0), 9.0))
    return folder


def test_a_mask_is_read_with_its_source_and_a_missing_one_explained(raw_folder):
    image, description = raw_folder / "imagesTr" / "a_0000.nii.gz", load_description(raw_folder)
    mask, source = read_organ_mask(raw_folder / "organMasksTr", "a", "left", image=image, description=description)
    assert mask.grid == grid_of(np.diag([-1.0, 1.0, 1.0]))
    assert mask.array.sum() == ball(mask.grid, (0.0, 0.0, 15.0), 9.0).array.sum()
    assert source.path == raw_folder / "organMasksTr" / "a" / "left.nii.gz"
    with pytest.raises(DataError, match="no mask of left in .*organMasksTs.*TotalSegmentator"):
        read_organ_mask(raw_folder / "organMasksTs", "a", "left", image=image, description=description)


def run(raw_folder, plan=PLAN, **settings):
    out = raw_folder.parent / "patches"
    settings = {"num_processes": 1, **settings}
    return preprocess_dataset(raw_folder, load_description(raw_folder), plan, out_dir=out, **settings), out


def test_a_dataset_is_stored_and_every_organ_accounted_for(raw_folder):
    calls = []
    report, out = run(raw_folder, progress=lambda *numbers: calls.append(numbers))
    assert report.stored == (("a", "left"), ("a", "right"), ("b", "right"), ("c", "left"))
    assert report.absent == (("b", "left"),)
    assert report.excluded == (("c", "right"),)
    assert (report.skipped, report.failures) == ((), ())
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert list_patches(out) == ["a__left", "a__right", "b__right", "c__left"]
    patch = load_patch(out, "a__left", verify=True)
    assert patch.array.shape == (3, 16, 16, 16)
    assert patch.grid.corners_mm().mean(axis=0)[2] > 0
    assert patch.metadata["instance"]["volume_ml"] == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.1)
    assert not {"label", "healthy", "unhealthy"} & set(json.dumps(patch.metadata).replace('"', " ").split())


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd"])
def test_another_file_format_gives_the_same_patches(raw_folder, ending):
    report, out = run(raw_folder)
    before = {name: load_patch(out, name, verify=True).array.tobytes() for name in list_patches(out)}
    for path in sorted(raw_folder.rglob("*.nii.gz")):
        volume = read_labels(path)
        path.unlink()
        reader_writer_for(Path(f"x{ending}")).write_volume(path.with_name(path.name.replace(".nii.gz", ending)), volume)
    document = json.loads((raw_folder / "dataset.json").read_text())
    (raw_folder / "dataset.json").write_text(json.dumps({**document, "file_ending": ending}))
    again, out = run(raw_folder)
    assert again.stored == report.stored and again.failures == ()
    assert {name: load_patch(out, name, verify=True).array.tobytes() for name in list_patches(out)} == before


def test_two_processes_store_what_one_stores(raw_folder):
    report, out = run(raw_folder)
    hashes = {name: load_patch(out, name, verify=True).metadata["sha256"] for name in list_patches(out)}
    for path in out.iterdir():
        path.unlink()
    again, _ = run(raw_folder, num_processes=2)
    assert again == report
    assert {name: load_patch(out, name, verify=True).metadata["sha256"] for name in list_patches(out)} == hashes


def test_a_second_run_skips_what_is_stored_and_intact(raw_folder):
    _, out = run(raw_folder)
    (out / "a__right.npy").write_bytes((out / "a__right.npy").read_bytes()[:-1])
    (out / "b__right.json").unlink()
    (out / "notes.txt").write_text("mine")
    report, _ = run(raw_folder)
    assert report.stored == (("a", "right"), ("b", "right"))
    assert report.skipped == (("a", "left"), ("c", "left"))
    assert (out / "notes.txt").read_text() == "mine"
    assert run(raw_folder)[0].stored == ()


def test_another_plan_replaces_the_patches_and_leaves_no_old_tile(raw_folder):
    small = PreprocessingPlan(spacing_mm=(2.0, 2.0, 2.0), patch_size=(8, 16, 16), margin_mm=4.0, tiling=True)
    _, out = run(raw_folder, small)
    assert {"a__left__0", "a__left__1"} <= set(list_patches(out))
    report, _ = run(raw_folder)
    assert len(report.stored) == 4
    assert list_patches(out) == ["a__left", "a__right", "b__right", "c__left"]


def test_a_changed_mask_is_preprocessed_again(raw_folder):
    run(raw_folder)
    path = raw_folder / "organMasksTr" / "a" / "left.nii.gz"
    write_volume(path, ball(grid_of(np.diag([-1.0, 1.0, 1.0])), (0.0, 4.0, 15.0), 8.0))
    assert run(raw_folder)[0].stored == (("a", "left"),)


def test_bad_cases_are_named_and_do_not_stop_the_others(raw_folder):
    image = raw_folder / "imagesTr" / "a_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:-30])
    (raw_folder / "organMasksTr" / "b" / "right.nii.gz").unlink()
    report, out = run(raw_folder)
    assert report.stored == (("c", "left"),)
    assert [(failure.case, failure.organ) for failure in report.failures] == [
        ("a", "left"),
        ("a", "right"),
        ("b", "right"),
    ]
    assert "a_0000.nii.gz" in report.failures[0].reason
    assert "ROI-MISSING" in report.failures[2].reason
    assert list_patches(out) == ["c__left"]


def test_a_map_of_all_organs_serves_as_well(raw_folder):
    document = json.loads((raw_folder / "dataset.json").read_text())
    document["nnanomaly"]["organ_mask_labels"] = {"left": 3, "right": 2}
    (raw_folder / "dataset.json").write_text(json.dumps(document))
    _, out = run(raw_folder)
    expected = load_patch(out, "a__right", verify=True).metadata["sha256"]
    grid = grid_of(np.diag([-1.0, 1.0, 1.0]))
    left, right = ball(grid, (0.0, 0.0, 15.0), 9.0), ball(grid, (0.0, 0.0, -15.0), 9.0)
    write_volume(raw_folder / "organMasksTr" / "a.nii.gz", Volume(3 * left.array + 2 * right.array, grid))
    for organ in ("left", "right"):
        (raw_folder / "organMasksTr" / "a" / f"{organ}.nii.gz").unlink()
    assert run(raw_folder)[0].stored == (("a", "left"), ("a", "right"))
    assert load_patch(out, "a__right", verify=True).metadata["sha256"] == expected

"""Prediction from Python says what the command says, whatever holds the image; a wrong argument is one line."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

import nnanomaly
from nnanomaly import cli
from nnanomaly.inference.predictor import Predictor
from nnanomaly.paths import Paths, environment_for
from nnanomaly.plans import Plans
from nnanomaly.utilities.errors import ConfigurationError, DataError

DATASET = "Dataset501_Tiny"
ORGANS = ("kidney_left", "kidney_right")
CASE = "patient_1"
SHAPE_IJK = (32, 24, 20)


def oblique_affine() -> np.ndarray[Any, Any]:
    """Axes towards left, posterior and superior, tilted, with sizes and offsets that float32 has to round."""
    angle = 0.2
    tilt = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = tilt @ np.diag([-4.1, -3.9, 6.3])
    affine[:3, 3] = (31.7, -17.3, 240.1)
    return affine


@pytest.fixture(scope="module")
def case(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_plans: Callable[..., Plans],
    write_untrained_model: Callable[..., None],
) -> SimpleNamespace:
    """A model of random weights, a case in files, and what the command predicts of it."""
    paths = Paths(*(tmp_path_factory.mktemp(name) for name in ("raw", "preprocessed", "results")))
    write_untrained_model(paths, tiny_plans("default", dataset=DATASET))
    image = np.random.default_rng(0).normal(40, 10, SHAPE_IJK)
    folder = paths.raw(DATASET)
    for organ, first in zip(ORGANS, (20, 4), strict=True):
        mask = np.zeros(SHAPE_IJK, np.uint8)
        mask[first : first + 8, 8:16, 6:14] = 1
        image += 60 * mask
        write(folder / "organMasksTs" / CASE / f"{organ}.nii.gz", mask)
    path = write(folder / "imagesTs" / f"{CASE}_0000.nii.gz", image.astype(np.int16))
    output = tmp_path_factory.mktemp("preds")
    with pytest.MonkeyPatch.context() as monkeypatch:
        for variable, root in zip(("raw", "preprocessed", "results"), vars_of(paths), strict=True):
            monkeypatch.setenv(f"nnanomaly_{variable}", str(root))
        command = ["-i", str(path.parent), "-o", str(output), "-d", "501", "-device", "cpu"]
        assert cli.predict(command) == 0
        lower_threshold(paths, output / "anomaly_maps" / f"{CASE}.nii.gz")
        assert cli.predict(command) == 0
    masks = {organ: folder / "organMasksTs" / CASE / f"{organ}.nii.gz" for organ in ORGANS}
    return SimpleNamespace(paths=paths, image=path, masks=masks, output=output)


def lower_threshold(paths: Paths, anomaly_map: Path) -> None:
    """Make a model of random weights find something: a third of what is above 0 in its map."""
    path = paths.fold(DATASET, "nnAnomalyPlans", "ddpm", 0) / "calibration.json"
    values = np.asarray(nibabel.load(anomaly_map).dataobj)
    calibration = {**json.loads(path.read_text()), "threshold": float(np.quantile(values[values > 0], 0.67))}
    path.write_text(json.dumps(calibration))


def vars_of(paths: Paths) -> tuple[Path | None, ...]:
    return paths.raw_root, paths.preprocessed_root, paths.results_root


def write(path: Path, array: np.ndarray[Any, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, oblique_affine()), path)
    return path


@pytest.fixture(scope="module")
def predictor(case: SimpleNamespace) -> Predictor:
    return Predictor.from_trained("501", paths=case.paths, device="cpu")


def with_affine(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


KINDS: dict[str, Callable[[Path], Any]] = {
    "path": lambda path: path,
    "text": str,
    "SimpleITK": lambda path: sitk.ReadImage(str(path)),
    "nibabel": nibabel.load,
    "array": with_affine,
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_image_gives_what_the_command_wrote(
    kind: str, case: SimpleNamespace, predictor: Predictor
) -> None:
    masks = {organ: KINDS[kind](path) for organ, path in case.masks.items()}
    found = predictor.predict(KINDS[kind](case.image), organ_masks=masks, case=CASE)
    mask = np.asarray(nibabel.load(case.output / f"{CASE}.nii.gz").dataobj)
    assert 0 < mask.sum() < mask.size
    np.testing.assert_array_equal(found.mask.T, mask != 0)
    written = nibabel.load(case.output / "anomaly_maps" / f"{CASE}.nii.gz")
    np.testing.assert_array_equal(found.anomaly_map.T, np.asarray(written.dataobj))
    written = nibabel.load(case.output / "reconstructions" / f"{CASE}.nii.gz")
    np.testing.assert_array_equal(np.rint(found.reconstruction).T, np.asarray(written.dataobj))
    document = json.loads((case.output / "detections" / f"{CASE}_boxes.json").read_text())
    assert found.threshold == document["threshold"]
    assert found.status == document["organs"] == dict.fromkeys(ORGANS, "ok")
    assert [candidate.score for candidate in found.candidates] == [entry["score"] for entry in document["candidates"]]
    assert len(found.candidates) > 0


def test_the_masks_of_a_file_are_found_beside_it(case: SimpleNamespace, predictor: Predictor) -> None:
    beside = predictor.predict(case.image)
    folder = predictor.predict(
        nibabel.load(case.image), organ_masks=case.image.parents[1] / "organMasksTs" / CASE, case=CASE
    )
    assert beside.case == folder.case == CASE
    np.testing.assert_array_equal(beside.anomaly_map, folder.anomaly_map)
    assert beside.anomaly_map.any()


def test_a_scan_is_predicted_alike_under_three_names_and_not_alike_with_other_noise(
    case: SimpleNamespace, predictor: Predictor
) -> None:
    first, *others = (predictor.predict(case.image, case=name) for name in (CASE, "another", "0"))
    assert first.candidates and first.mask.any()
    for named in others:
        np.testing.assert_array_equal(named.anomaly_map, first.anomaly_map)
        np.testing.assert_array_equal(named.mask, first.mask)
        assert named.candidates == first.candidates
    scan, affine = with_affine(case.image)
    scan = scan.copy()
    scan[24, 12, 10] += 100  # a voxel of the left kidney: other noise in its patch, and there alone
    changed = predictor.predict((scan, affine), organ_masks={o: with_affine(p) for o, p in case.masks.items()})
    assert (changed.anomaly_map != first.anomaly_map)[..., 20:].any()


def test_more_samples_change_the_map_and_several_have_a_spread(case: SimpleNamespace, predictor: Predictor) -> None:
    planned, five = predictor.predict(case.image), predictor.predict(case.image, num_samples=5)
    assert {found.organ for found in planned.candidates} <= set(predictor.organs)
    assert (planned.anomaly_map != five.anomaly_map).any()
    assert all(found.score_spread is not None and found.score_spread > 0 for found in planned.candidates)
    one = predictor.predict(case.image, num_samples=1)
    assert one.candidates and all(found.score_spread is None for found in one.candidates)


@pytest.mark.parametrize("number", [0, -3])
def test_a_number_of_samples_that_cannot_be_is_refused(
    number: int, case: SimpleNamespace, predictor: Predictor
) -> None:
    with pytest.raises(ConfigurationError, match="NNA-CFG-SAMPLES"):
        predictor.predict(case.image, num_samples=number)


def test_the_result_goes_back_to_nibabel_on_the_grid_of_the_scan(case: SimpleNamespace, predictor: Predictor) -> None:
    found = predictor.predict(case.image)
    image = found.as_nibabel(found.mask)
    np.testing.assert_allclose(image.affine, oblique_affine(), atol=1e-5)
    assert image.shape == SHAPE_IJK
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(image.dataobj), found.mask.T)


def test_an_empty_mask_says_nothing_about_its_organ(case: SimpleNamespace, predictor: Predictor) -> None:
    image, affine = with_affine(case.image)
    nothing = {organ: (np.zeros(SHAPE_IJK, bool), affine) for organ in ORGANS}
    found = predictor.predict((image, affine), organ_masks=nothing)
    assert found.status == dict.fromkeys(ORGANS, "no_roi")
    assert found.threshold is None
    assert not found.mask.any() and not found.anomaly_map.any() and found.candidates == []
    np.testing.assert_array_equal(found.reconstruction.T, image)


def changed(image: np.ndarray[Any, Any], value: float) -> np.ndarray[Any, Any]:
    image = image.astype(float)
    image[3, 2, 1] = value
    return image


FAULTS: dict[str, tuple[type[ValueError], str, Callable[[Any, Any], dict[str, Any]]]] = {
    "no masks": (ConfigurationError, "CFG-MASKS", lambda image, affine: {"organ_masks": None}),
    "an organ is missing": (DataError, "ROI-MISSING", lambda image, affine: {"organ_masks": {}}),
    "no image": (ConfigurationError, "CFG-IMAGE", lambda image, affine: {"image": image}),
    "not finite": (DataError, "INT-NONFINITE", lambda image, affine: {"image": (changed(image, np.nan), affine)}),
    "too large": (DataError, "INT-RANGE", lambda image, affine: {"image": (changed(image, 1e300), affine)}),
    "two axes": (DataError, "IO-SHAPE", lambda image, affine: {"image": (image[0], affine)}),
    "complex": (DataError, "IO-DTYPE", lambda image, affine: {"image": (image.astype(complex), affine)}),
    "half an affine": (DataError, "GEO-SPACING", lambda image, affine: {"image": (image, affine[:3])}),
    "an infinite affine": (DataError, "GEO-SPACING", lambda image, affine: {"image": (image, affine * np.inf)}),
    "a sheared affine": (
        DataError,
        "GEO-SHEAR",
        lambda image, affine: {"image": (image, affine @ (np.eye(4) + 0.2 * np.eye(4, k=1)))},
    ),
    "a thin image": (DataError, "GEO-THIN", lambda image, affine: {"image": (image[:2], affine)}),
    "another grid": (DataError, "GEO-PAIR", lambda image, affine: {"image": (image, affine + np.eye(4, k=3))}),
    "a colour image": (
        DataError,
        "IO-SHAPE",
        lambda image, affine: {"image": sitk.GetImageFromArray(np.zeros((9, 9, 9, 3)), isVector=True)},
    ),
    "fractions as masks": (
        DataError,
        "INT-LABELS",
        lambda image, affine: {"organ_masks": dict.fromkeys(ORGANS, (np.full(SHAPE_IJK, 0.5), affine))},
    ),
    "a case id that leaves its folder": (DataError, "CASE-ID", lambda image, affine: {"case": "../x"}),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_a_wrong_argument_is_refused_in_one_line(fault: str, case: SimpleNamespace, predictor: Predictor) -> None:
    kind, code, change = FAULTS[fault]
    image, affine = with_affine(case.image)
    masks = {organ: with_affine(path) for organ, path in case.masks.items()}
    with pytest.raises(kind, match=rf"^\[NNA-{code}\] .+") as raised:
        predictor.predict(**{"image": (image, affine), "organ_masks": masks, **change(image, affine)})
    assert "\n" not in str(raised.value)


def test_a_model_that_is_not_there_is_refused(paths: Paths) -> None:
    with pytest.raises(ConfigurationError, match="NNA-CFG-DATASET"):
        Predictor.from_trained(501, paths=paths)


def test_the_package_gives_the_predictor_and_nothing_else(case: SimpleNamespace) -> None:
    assert nnanomaly.Predictor is Predictor
    with pytest.raises(AttributeError, match="Predicter"):
        nnanomaly.Predicter  # noqa: B018


def test_the_page_runs_as_one_script_without_a_main_guard(case: SimpleNamespace, root: Path, tmp_path: Path) -> None:
    page = (root / "documentation" / "how-to" / "python-api.md").read_text(encoding="utf-8")
    snippets = re.findall(r"^```python\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    assert len(snippets) >= 5
    assert "__main__" not in page.replace("`__main__`", "")
    script = tmp_path / "script.py"
    script.write_text("\n".join(snippets), encoding="utf-8")
    environment = {**environment_for(case.paths), "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=case.paths.raw(DATASET),
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "kidney_left" in result.stdout


def test_a_printed_prediction_says_what_was_found_and_holds_no_array(
    case: SimpleNamespace, predictor: Predictor
) -> None:
    found = predictor.predict(case.image)
    text = repr(found)
    assert "array" not in text and len(text) < 2000
    assert CASE in text and f"{len(found.candidates)} candidates" in text and "kidney_left" in text

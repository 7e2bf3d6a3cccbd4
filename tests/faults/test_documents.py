"""Every document that is read, with every value replaced by others: it is read, or one coded line names the file.

Not by chance as in `test_fuzz.py`, but each place with each strange value in turn.
"""

import copy
import itertools
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.baselines.export_nndetection import export_rule, read_raw_document, task_name
from nnanomaly.baselines.nndetection_task import load_task
from nnanomaly.candidate_reduction.mil import FEATURES
from nnanomaly.dataset.prediction_run import unfinished
from nnanomaly.dataset_conversion.decathlon import find_task_cases, read_task, task_scheme
from nnanomaly.evaluation.bootstrap import Bootstrap
from nnanomaly.evaluation.evaluate_case import read_scores
from nnanomaly.evaluation.healthy_organs import count_in_healthy_organs
from nnanomaly.evaluation.lesion_labels import find_lesion_labels
from nnanomaly.evaluation.metrics import lesion_metrics
from nnanomaly.evaluation.organ_scores import organ_auroc, patient_auroc
from nnanomaly.experiment_planning.fingerprint import load_fingerprint
from nnanomaly.inference.calibration import Calibration
from nnanomaly.inference.prediction_files import finished_status
from nnanomaly.inference.reducer_file import TrainedReducer
from nnanomaly.lesion_head.example_store import StoredStatistics
from nnanomaly.model_sharing.manifest import Manifest
from nnanomaly.plans import Plans
from nnanomaly.report.folder_facts import evaluation_section, run_section
from nnanomaly.report.predictions import failed_cases, file_ending, images_folder, read_case
from nnanomaly.trained_model import read_latent_scaling
from nnanomaly.training.reconstruction_quality import Fidelity
from nnanomaly.training.run_log import _read_lines
from nnanomaly.utilities.errors import UserError
from nnanomaly.utilities.json_io import read_document, to_document

STRANGE = (
    None,
    True,
    -1,
    0,
    10**30,
    2.5,
    1e308,
    "",
    "../x",
    "<img src=x>",
    "x" * 300,
    "\x1b[2J",
    [],
    [[]],
    {},
    {"a": {}},
)
RAW = ("NaN", "1e999", "9" * 400, "-Infinity", '"\\ud800"', "[" * 100 + "]" * 100)
"""Values that no Python document has, as they may stand in a file."""
MARK = "\x7fhere\x7f"


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a document, but the root."""
    items = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def variants(document: Any) -> Iterator[str]:
    """The document with each value replaced by each strange one, and without it; then strange documents."""
    for *way, last in places(document):
        changed = copy.deepcopy(document)
        parent = changed
        for key in way:
            parent = parent[key]
        for value in STRANGE:
            parent[last] = value
            yield json.dumps(changed)
        parent[last] = MARK
        for text in RAW:
            yield json.dumps(changed).replace(json.dumps(MARK), text)
        del parent[last]
        yield json.dumps(changed)
    yield from map(json.dumps, STRANGE)
    yield from ("", "{", "[" * 100_000, '{"a": 1, "a": 2}', *RAW)


def survive(path: Path, document: Any, *readers: Callable[[], object], step: int = 1) -> None:
    """All readers take the document itself, and of its variants what is sound; anything else is our error.

    `step`: of how many variants one is tried, where a reader is slow.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    for reader in readers:
        reader()
    refused = 0
    for text in itertools.islice(variants(document), None, None, step):
        path.write_text(text)
        for reader in readers:
            try:
                reader()
            except UserError as error:
                refused += 1
                assert re.match(r"\[NNA-[A-Z]+(-[A-Z0-9]+)*\] ", str(error)) and len(str(error)) < 1500, error
                assert "\n" not in str(error) and "\x1b" not in str(error), error
            except Exception as error:
                raise AssertionError(f"{text[:2000]} raised {error!r}") from error
    assert refused > 0


STATISTICS = {"edges_mm": [-1.0, 1.0], "edges_hu": [], "mean_hu": [1.0, 2.0, 3.0], "std_hu": [1.0] * 3, "extra": []}
CANDIDATES = {
    "case": "a",
    "threshold": 2.0,
    "organs": {"kidney": "ok"},
    "candidates": [{"id": 1, "start": [0, 0, 0], "stop": [2, 2, 2], "score": 3.0, "center_mm": [1.0, 1.0, 1.0]}],
    "patches": [
        {
            "organ": "kidney",
            "shape": [8, 8, 8],
            "spacing_mm": [1.0, 1.0, 1.0],
            "origin_mm": [0.0, 0.0, 0.0],
            "direction": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        }
    ],
}


def test_candidates_files(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").touch()
    path, bootstrap = tmp_path / "detections" / "a_boxes.json", Bootstrap(num_draws=10, seed=0)
    survive(
        path,
        CANDIDATES,
        lambda: read_case(tmp_path, "a").organ_at((1.0, 1.0, 1.0)),
        lambda: read_scores(path),
        lambda: count_in_healthy_organs(tmp_path, {("a", "kidney")}),
        lambda: organ_auroc(tmp_path, ["a"], {("a", "kidney"): "unhealthy"}, bootstrap=bootstrap),
        lambda: patient_auroc(tmp_path, {"a": True}, bootstrap=bootstrap),
        lambda: finished_status(tmp_path, "a", ".nii.gz"),
    )


def test_the_other_documents_of_a_prediction(tmp_path: Path) -> None:
    metrics = to_document(lesion_metrics({"a": []}, min_iou=0.1))
    curves = {"average_precision": 0.5, "froc_score": None, "sensitivity_at_fp_per_scan": {"1": 0.5}}
    with pytest.raises(AssertionError, match="^assert 0 > 0"):  # the report does without it
        survive(
            tmp_path / "detection_summary.json",
            {"metrics": metrics, "curves": curves},
            lambda: evaluation_section(tmp_path),
            step=11,
        )
    arguments = {"version": "1", "images": str(tmp_path), "folds": {"0": {"checkpoints": {"vqgan": "a"}}}}
    path = tmp_path / "predict_from_raw_data_args.json"
    survive(path, arguments, lambda: run_section(tmp_path), lambda: images_folder(tmp_path, None))
    survive(tmp_path / "dataset.json", {"file_ending": ".nii.gz"}, lambda: file_ending(tmp_path))


def test_the_state_of_a_run_is_read_or_said_to_be_unknown(tmp_path: Path) -> None:
    run = {"schema_version": 1, "part": None, "num_parts": 1, "cases": ["a", "b"], "finished": False}
    with pytest.raises(AssertionError, match="^assert 0 > 0"):
        survive(tmp_path / "detections" / "run.json", run, lambda: unfinished(tmp_path))
    (tmp_path / "detections" / "run.json").write_text("[]")
    assert "not known" in str(unfinished(tmp_path))


@pytest.mark.parametrize(
    "text", ["", "case\na\n", "case,status,reason\na,failed\n", '"' * 300_000, "," * 2000, "\x00", "a;b\n1,2,3"]
)
def test_a_table_that_is_none_is_a_fault_that_is_shown(tmp_path: Path, text: str) -> None:
    (tmp_path / "detections").mkdir()
    (tmp_path / "detections" / "status.csv").write_text(text)
    (tmp_path / "detections" / "status_part1.csv").write_text("case,organ,status,reason\nb,,failed,why\n")
    failed = failed_cases(tmp_path)
    assert failed["b"] == "prediction failed: why"
    assert "NNA-JSON" in failed["status.csv"]


def test_documents_of_a_model(tmp_path: Path, tiny_plans: Callable[..., Plans]) -> None:
    plans = tiny_plans("default", dataset="Dataset501_Tiny")
    calibration = {
        "statistics": {**STATISTICS, "extra": [STATISTICS]},
        "threshold": 3.0,
        "false_candidates_per_organ": 0.5,
        "num_organs": 3,
        "guidance": True,
        "guidance_reason": "",
        "checkpoints": {"vqgan": "a"},
        "inpaint_threshold": None,
    }
    names, count = list(FEATURES)[:2], 2
    reducer = {
        "features": names,
        "center": [0.0] * count,
        "scale": [1.0] * count,
        "hidden_weights": [[1.0] * count] * 3,
        "hidden_bias": [0.0] * 3,
        "output_weights": [1.0] * 3,
        "output_bias": 0.0,
    }
    trained = {"reducer": reducer, "checkpoints": {}, "inference": to_document(plans.inference), "num_candidates": {}}
    fidelity = {"psnr_db": 1.0, "ssim": 0.5, "mae_hu": None, "high_band_ratio": 0.5, "contrast_retention": [0.5, None]}
    manifest = {
        **dict.fromkeys(
            ("format", "nnanomaly_version", "dataset", "plans_name", "checkpoint", "licence", "origin"), "a"
        ),
        "format_version": 1,
        "folds": ["0"],
        "files": {"plans.json": {"sha256": "a", "num_bytes": 1}},
    }
    path = tmp_path / "document.json"
    for kind, document in (
        (Calibration, calibration),
        (TrainedReducer, trained),
        (StoredStatistics, {"of": {}, "statistics": STATISTICS}),
        (Fidelity, fidelity),
        (Manifest, manifest),
    ):
        survive(path, document, lambda kind=kind: read_document(path, kind, remedy="Make it anew."))
    channels = plans.vqgan.latent_channels
    scaling = {"vqgan_sha256": "a", "values": {"mean": [0.0] * channels, "std": [1.0] * channels}}
    survive(path, scaling, lambda: read_latent_scaling(path, plans))


def test_fingerprints(tmp_path: Path) -> None:
    path = tmp_path / "dataset_fingerprint.json"
    path.write_text(json.dumps({"schema_version": 1}))
    for text in variants({"schema_version": 1, "spacings_mm": [[1.0, 1.0, 1.0]]}):
        path.write_text(text)
        with pytest.raises(UserError):
            load_fingerprint(path)


def test_documents_of_other_tools(tmp_path: Path) -> None:
    folder = tmp_path / "Task003_Liver"
    decathlon = {
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "cancer"},
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        "test": ["./imagesTs/b.nii.gz"],
    }
    path = folder / "dataset.json"
    survive(
        path,
        decathlon,
        lambda: find_task_cases(folder, read_task(folder)),
        lambda: task_scheme(folder, read_task(folder), "liver", ()),
    )
    task = {"dim": 3, "labels": {"0": "tumor"}, "labels_stuff": {"1": "liver"}, "modalities": {"0": "CT"}}
    survive(path, {**task, "seg2det_things": [2], "seg2det_stuff": [1]}, lambda: load_task(folder))
    raw = {
        "labels": {"background": 0, "tumor": [1, 2]},
        "channel_names": {"0": "CT"},
        "regions_class_order": [1],
        "nnanomaly": {"lesion_labels": ["tumor"]},
        "nndetection": {"task": "Task003_Liver", "description": {"labels": {"0": "tumor"}, "min_size": 2.0}},
    }
    survive(
        path,
        raw,
        lambda: task_name("Dataset003_Liver", read_raw_document(folder)),
        lambda: export_rule(read_raw_document(folder), [1, 2], min_size_mm=None),
        lambda: find_lesion_labels(folder, folder),
    )


@pytest.mark.parametrize(
    "text",
    [
        "labels: &a [1, 2]\nmodalities: *a",
        "labels: {0: tumor}\nmodalities: {0: [1]}",
        "labels: !!python/object/apply:os.system [ls]",
        "a: " + "[" * 5000,
        "x" * 2**19,
        "labels: {0: tumor}\nmodalities: {0: CT}\nseg2det_things: 5",
    ],
)
def test_a_task_in_yaml_that_is_none_is_refused_soon(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises(UserError, match="TASK-JSON"):
        load_task(tmp_path)


def test_a_log_of_a_training_is_kept_up_to_the_first_line_that_is_none(tmp_path: Path) -> None:
    good = {"iteration": 1, "kind": "train", "loss": 0.5}
    alarm = {"iteration": 2, "kind": "alarm", "alarm": "flat", "raised": True, "message": "flat"}
    path = tmp_path / "log.jsonl"
    for strange in (
        [],
        1,
        None,
        {},
        {**good, "loss": "x"},
        {**good, "iteration": "1"},
        {**alarm, "raised": 1},
        {"a": 10**400},
    ):
        path.write_text("".join(json.dumps(line) + "\n" for line in (good, alarm, strange, good)))
        assert _read_lines(path) == [good, alarm]

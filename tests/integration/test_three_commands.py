"""The three commands in this order on a raw dataset, with the smallest networks: files, provenance, repeatability."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from nnanomaly import cli
from nnanomaly.dataset_conversion.phantom import PhantomSettings
from nnanomaly.dataset_conversion.phantom_dataset import write_phantom_dataset
from nnanomaly.inference import case_work
from nnanomaly.paths import Paths, environment_for
from nnanomaly.plans import PLANS_NAMES, Plans, load_plans, save_plans
from nnanomaly.stages import STAGES

DATASET = "Dataset501_Phantom"
ROOT = Path(__file__).resolve().parents[2]
CASES = ("phantom_010", "phantom_011")
SEED = 7

# A command in a process that writes down every file it opens, from before the first import of ours, and in which
# nothing can reach a network: the audit hook refuses every connection and every name look-up.
WATCHED = """
import sys
opened = []
def watch(event, arguments):
    if event == "open":
        opened.append(str(arguments[0]))
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request"):
        raise AssertionError(f"network: {event} {arguments}")
sys.addaudithook(watch)
import nnanomaly.cli
status = getattr(nnanomaly.cli, sys.argv[2])(sys.argv[3:])
open(sys.argv[1], "w").write("\\n".join(opened))
sys.exit(status)
"""


@dataclass(frozen=True)
class Project:
    """A dataset from raw to predictions, in one preset."""

    paths: Paths
    preset: str
    opened: tuple[str, ...] = ()
    """Files that training opened."""

    @property
    def predictions(self) -> Path:
        return self.paths.raw("predictions") / self.preset

    @property
    def plans(self) -> Plans:
        return load_plans(self.paths.plans(DATASET, PLANS_NAMES[self.preset]))

    def run(self, command: str, *arguments: object) -> int:
        """A command as a user types it, in the preset of the project."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment_for(self.paths).items():
                patch.setenv(name, value)
            patch.setenv("nnanomaly_def_n_proc", "1")
            return int(getattr(cli, command)([str(argument) for argument in (*arguments, *self.choice(command))]))

    def choice(self, command: str) -> tuple[str, ...]:
        return ("-preset", "paper") if self.preset == "paper" and command != "evaluate_folder" else ()

    def predict(self, output: Path, *arguments: object) -> int:
        return self.run("predict", "-i", "imagesTs", "-o", output, *arguments)

    def fold(self, stage: str) -> Path:
        return self.paths.fold(DATASET, PLANS_NAMES[self.preset], stage, 0)

    def shorten(self, shrink: Callable[..., Plans], **sizes: object) -> None:
        """What a user edits in the plans file for a quick try."""
        save_plans(self.paths.plans(DATASET, PLANS_NAMES[self.preset]), shrink(self.plans, num_iterations=2, **sizes))


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A phantom of coarse voxels: ten training cases and two test cases."""
    paths = Paths(*(tmp_path_factory.mktemp(name) for name in ("raw", "preprocessed", "results")))
    settings = PhantomSettings(spacing_mm=(6.0, 6.0, 6.0), unhealthy_share=0.5)
    write_phantom_dataset(paths.raw(DATASET), num_training=10, num_test=2, seed=0, settings=settings)
    return paths


@pytest.fixture(scope="module")
def default(paths: Paths, shrink_plans: Callable[..., Plans], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The default preset as planned, with fewer iterations and narrower networks."""
    project = Project(paths, "default")
    assert project.run("plan_and_preprocess", "-d", "501", "-gpu_memory_target", "0.5") == 0
    planned = project.plans.preprocessing
    project.shorten(shrink_plans, patch_size=planned.patch_size, spacing_mm=planned.spacing_mm[0])
    list_of_files = tmp_path_factory.mktemp("audit") / "opened.txt"
    process = subprocess.run(
        [sys.executable, "-c", WATCHED, str(list_of_files), "train", "501", "ddpm"],
        env={**environment_for(paths), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert project.predict(project.predictions) == 0
    return Project(paths, "default", tuple(list_of_files.read_text().splitlines()))


@pytest.fixture(scope="module")
def paper(paths: Paths, default: Project, shrink_plans: Callable[..., Plans]) -> Project:
    """The paper's preset with its methods, but patches of 24 x 24 x 24 voxels of 5 mm."""
    project = Project(paths, "paper")
    assert project.run("plan_experiment", "-d", "501") == 0
    project.shorten(shrink_plans, patch_size=(24, 24, 24), spacing_mm=5.0)
    assert project.run("preprocess", "-d", "501") == 0
    assert project.run("train", "501", "ddpm", "0", "-seed", SEED) == 0
    assert project.predict(project.predictions) == 0
    return project


@pytest.fixture(params=["default", "paper"])
def project(request: pytest.FixtureRequest) -> Project:
    return request.getfixturevalue(request.param)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_planning_leaves_the_documented_files(default: Project) -> None:
    folder = default.paths.preprocessed(DATASET)
    expected = {"dataset.json", "dataset_fingerprint.json", "nnAnomalyPlans.json", "splits_final.json"}
    assert expected | {"organ_labels.csv", "gt_segmentations", "nnAnomalyPlans_3d"} <= {
        path.name for path in folder.iterdir()
    }
    patches = {path.name for path in (folder / "nnAnomalyPlans_3d").iterdir()}
    names = {f"phantom_{case:03d}__kidney_{side}" for case in range(10) for side in ("left", "right")}
    assert patches == {f"{name}.{ending}" for name in names for ending in ("npy", "json")}


@pytest.mark.parametrize("stage", STAGES)
def test_training_leaves_the_documented_files(project: Project, stage: str) -> None:
    folder = project.fold(stage)
    assert {path.name for path in folder.parent.iterdir()} == {"plans.json", "dataset.json", "fold_0"}
    logs = {path.name for path in folder.glob("training_log_*.txt")}
    expected = {"checkpoint_best.pth", "checkpoint_final.pth", "debug.json", "progress.png", "log.jsonl", "validation"}
    extra = {"vqgan": {"latent_scaling.json", "samples"}, "classifier": set(), "ddpm": {"calibration.json", "samples"}}[
        stage
    ]
    assert logs
    assert {path.name for path in folder.iterdir()} == expected | extra | logs
    assert json.loads((folder / "validation" / "summary.json").read_text())
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    kinds = {record["kind"] for record in records}
    assert {"train", "validation"} <= kinds <= {"start", "train", "validation", "alarm"}
    gate = folder / "validation" / "reconstruction_gate.json"
    assert gate.is_file() == (stage == "vqgan")
    assert stage != "vqgan" or json.loads(gate.read_text())["passed"]  # both presets report, these plans refuse nothing


def test_checkpoints_open_without_executing_anything(project: Project) -> None:
    checkpoints = [path for stage in STAGES for path in sorted(project.fold(stage).glob("*.pth"))]
    assert len(checkpoints) == 2 * len(STAGES)
    for path in checkpoints:
        state = torch.load(path, weights_only=True)
        assert state["iteration"] == 2
        assert all(torch.isfinite(value).all() for value in state["averaged_weights"].values())


def test_training_never_opens_a_drawn_lesion(default: Project) -> None:
    assert [name for name in default.opened if "nnAnomalyPlans_3d" in name and name.endswith(".npy")]
    drawn = ("labelsTr", "labelsTs", "gt_segmentations", "reportsTr", "reportsTs", "imagesTs")
    assert [name for name in default.opened if any(part in name for part in drawn)] == []
    assert sorted((default.paths.raw(DATASET) / "labelsTr").glob("*.nii.gz"))  # there would have been something


def test_nothing_needs_a_network(default: Project, tmp_path: Path) -> None:
    watched = ["-c", WATCHED, str(tmp_path / "opened.txt")]  # training ran under the same watch
    references = str(default.paths.raw(DATASET) / "labelsTs")
    environment = {**environment_for(default.paths), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for command in (
        ("plan_and_preprocess", "-d", "501", "--no_pp"),
        ("predict", "-i", "imagesTs", "-o", str(tmp_path / "preds")),
        ("evaluate_folder", references, str(default.predictions), "-o", str(tmp_path)),
    ):
        before = default.paths.plans(DATASET, PLANS_NAMES["default"]).read_bytes()
        process = subprocess.run(
            [sys.executable, *watched, *command], env=environment, capture_output=True, text=True, check=False
        )
        default.paths.plans(DATASET, PLANS_NAMES["default"]).write_bytes(before)  # planning again forgets the edits
        assert process.returncode == 0, process.stderr
    reach_out = "import socket; socket.create_connection(('127.0.0.1', 9))"
    code = WATCHED.replace("import nnanomaly.cli", reach_out)
    process = subprocess.run(
        [sys.executable, "-c", code, "x", "y"], env=environment, capture_output=True, text=True, check=False
    )
    assert "AssertionError: network: socket." in process.stderr  # the trap is where it should be


def test_what_a_run_was_told_is_recorded(paper: Project, default: Project) -> None:
    for stage in STAGES:
        told = json.loads((paper.fold(stage) / "debug.json").read_text())
        assert told["overrides"] == {"seed": SEED}
        assert told["training"]["seed"] == SEED
        assert json.loads((default.fold(stage) / "debug.json").read_text())["overrides"] == {}


def test_all_networks_of_a_fold_belong_to_one_autoencoder(project: Project) -> None:
    calibration = json.loads((project.fold("ddpm") / "calibration.json").read_text())
    scaling = json.loads((project.fold("vqgan") / "latent_scaling.json").read_text())
    assert set(calibration["checkpoints"]) == set(STAGES)
    assert scaling["vqgan_sha256"] == calibration["checkpoints"]["vqgan"]
    assert set(scaling["values"]) == ({"low", "high"} if project.preset == "paper" else {"mean", "std"})


def test_a_prediction_folder_holds_masks_and_three_documents_and_the_rest_in_subfolders(project: Project) -> None:
    masks = {f"{case}.nii.gz" for case in CASES}
    documents = {"dataset.json", "plans.json", "predict_from_raw_data_args.json"}
    files = set(content(project.predictions))
    ours = {f"{folder}/{name}" for folder in ("anomaly_maps", "reconstructions") for name in masks}
    boxes = {f"detections/{case}_boxes.json" for case in CASES} | {"detections/status.csv", "detections/run.json"}
    assert files == masks | documents | ours | boxes | ({"summary.json"} & files)
    arguments = json.loads((project.predictions / "predict_from_raw_data_args.json").read_text())
    assert arguments["plans_identity"] == project.plans.identity
    assert set(arguments["folds"]) == {"0"}


def test_predictions_lie_on_the_grid_of_their_scan_and_say_something_about_both_kidneys(project: Project) -> None:
    for case in CASES:
        scan = nibabel.load(project.paths.raw(DATASET) / "imagesTs" / f"{case}_0000.nii.gz")
        masks = project.paths.raw(DATASET) / "organMasksTs" / case
        kidneys = [np.asarray(nibabel.load(masks / f"kidney_{side}.nii.gz").dataobj) > 0 for side in ("left", "right")]
        for folder in (".", "anomaly_maps", "reconstructions"):
            prediction = nibabel.load(project.predictions / folder / f"{case}.nii.gz")
            assert prediction.shape == scan.shape
            assert np.array_equal(prediction.affine, scan.affine)
        anomaly = np.asarray(nibabel.load(project.predictions / "anomaly_maps" / f"{case}.nii.gz").dataobj)
        assert all(np.mean(anomaly[kidney] != 0) > 0.9 for kidney in kidneys)
        document = json.loads((project.predictions / "detections" / f"{case}_boxes.json").read_text())
        assert set(document["organs"]) == {"kidney_left", "kidney_right"}


def test_the_same_prediction_again_gives_the_same_bytes(project: Project, tmp_path: Path) -> None:
    assert project.predict(tmp_path / "again") == 0
    first, second = content(project.predictions), content(tmp_path / "again")
    first.pop("summary.json", None)
    assert first == second


LAYOUT = ROOT / "documentation" / "reference" / "results-layout.md"


NAMES = {"plans": r"nnAnomaly\w*Plans", "stage": "(?:vqgan|classifier|ddpm|head|reduction)", "fold": r"(?:\d+|all)"}


def in_words(name: re.Match[str]) -> str:
    """The pattern behind a name in braces of the page."""
    return NAMES.get(name[1], "[^/]+")


def documented(section: str) -> re.Pattern[str]:
    """The first cells of the tables of a section of the page, as one pattern: `{name}` and `*` stop at a folder."""
    text = LAYOUT.read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)
    parts = [re.sub(r"\\{(\w+)\\}", in_words, re.escape(cell)).replace(r"\*", "[^/]*") for cell in cells]
    return re.compile("|".join(part + ".+" if part.endswith("/") else part for part in parts))


def test_every_file_that_is_left_stands_in_the_page_of_the_layout(project: Project) -> None:
    left = {
        "Preprocessed": project.paths.preprocessed(DATASET),
        "Results": project.paths.results_folder() / DATASET,
        "Predictions": project.predictions,
    }
    for section, folder in left.items():
        described, files = documented(section), content(folder)
        assert files, folder
        assert [name for name in files if not described.fullmatch(name)] == [], section
        assert not described.fullmatch("unheard_of.txt")


def test_a_prediction_that_is_continued_computes_nothing(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(case_work, "predict_patches", refuse)
    monkeypatch.setattr(case_work, "read_case", refuse)
    before = content(project.predictions)
    assert project.predict(project.predictions, "--continue_prediction") == 0
    assert content(project.predictions) == before
    elsewhere = project.predictions.with_name(f"{project.preset} again")
    assert project.predict(elsewhere) == 4  # the trap is where it should be, and costs its case
    assert "computed again" in (elsewhere / "detections" / "status.csv").read_text(encoding="utf-8")


def test_continuing_a_finished_training_changes_nothing_and_calibrates_alike(project: Project) -> None:
    before = content(project.paths.model(DATASET, PLANS_NAMES[project.preset], "ddpm"))
    seed = ("-seed", SEED) if project.preset == "paper" else ()
    assert project.run("train", "501", "ddpm", "--c", *seed) == 0
    after = content(project.paths.model(DATASET, PLANS_NAMES[project.preset], "ddpm"))
    changed = {name for name in after if before.get(name) != after[name]}
    assert changed <= {"fold_0/debug.json"}


def test_the_evaluation_reads_what_the_prediction_wrote(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    reference = project.paths.raw(DATASET) / "labelsTs"
    assert project.run("evaluate_folder", reference, project.predictions) == 0
    assert project.preset in capsys.readouterr().out
    summary = json.loads((project.predictions / "summary.json").read_text())
    assert {"foreground_mean", "mean", "metric_per_case"} <= set(summary)
    assert len(summary["metric_per_case"]) == len(CASES)


def test_the_presets_keep_apart_what_they_write(default: Project, paper: Project) -> None:
    assert default.plans.ddpm.process == "edm"
    assert (paper.plans.ddpm.process, paper.plans.ddpm.architecture) == ("ddpm", "factorised")
    assert (paper.plans.vqgan.architecture, paper.plans.inference.sampler) == ("transposed", "ddim")
    maps = [(project.predictions / "anomaly_maps" / f"{CASES[0]}.nii.gz").read_bytes() for project in (default, paper)]
    assert maps[0] != maps[1]

"""A small dataset and a model of random weights, and a shell to run commands in; the commands run in this process."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly import cli
from nnanomaly.experiment_planning import plan_and_preprocess_api as api
from nnanomaly.imageio.nifti import write_volume
from nnanomaly.paths import Paths
from nnanomaly.plans import Plans, save_plans
from nnanomaly.volume import Grid, Volume

DATASET = "Dataset501_Tiny"
GRID = Grid((20, 24, 32), (6.0, 4.0, 4.0), (0.0, 0.0, 0.0))
ORGANS = ("kidney_left", "kidney_right")
VARIABLES = ("nnanomaly_raw", "nnanomaly_preprocessed", "nnanomaly_results")


class Shell:
    """Runs commands as a user would: in a folder, with the environment, and reads their standard error."""

    def __init__(self, paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
        self.paths, self.capsys = paths, capsys

    def __call__(self, command: str, *arguments: object) -> int:
        self.capsys.readouterr()
        return int(getattr(cli, command)([str(argument) for argument in arguments]))

    def error(self) -> str:
        """The line that the last command left, and below it, indented, a line for each of several faults."""
        text = self.capsys.readouterr().err.rstrip("\n")
        first, *others = text.splitlines()
        assert first.startswith("error: [NNA-")
        assert all(line.startswith("  ") for line in others)
        return text

    def refuses(self, status: int, command: str, *arguments: object) -> str:
        """The line of a command that ends with a status and leaves every folder as it was."""
        before = self.everything()
        assert self(command, *arguments) == status
        assert self.everything() == before
        return self.error()

    def everything(self) -> dict[str, bytes | None]:
        """All files and folders around, with their content."""
        root = Path.cwd()
        found = sorted(root.rglob("*"))
        return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in found}

    @staticmethod
    def write_case(raw: Path, part: str, case: str, *, organs: tuple[str, ...] = ORGANS, seed: int = 0) -> None:
        """Noise with two brighter blocks; the organs that are not named have a mask of zeros."""
        image = np.random.default_rng(seed).normal(40, 10, (1, *GRID.shape))
        for organ, first in zip(ORGANS, (20, 4), strict=True):
            mask = np.zeros((1, *GRID.shape), np.uint8)
            if organ in organs:
                mask[0, 6:14, 8:16, first : first + 8] = 1
                image += 60 * mask
            write_volume(raw / f"organMasks{part}" / case / f"{organ}.nii.gz", Volume(mask, GRID))
        write_volume(raw / f"images{part}" / f"{case}_0000.nii.gz", Volume(image.astype(np.int16), GRID))

    @staticmethod
    def truncate(path: Path) -> None:
        """Keep the first half of a file."""
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def shell(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    for variable in ("nnUNet_raw", "nnanomaly_def_n_proc"):
        monkeypatch.delenv(variable, raising=False)
    for variable in VARIABLES:
        monkeypatch.setenv(variable, str(tmp_path / variable.removeprefix("nnanomaly_")))
    monkeypatch.setenv("nnanomaly_def_n_proc", "1")
    monkeypatch.chdir(tmp_path)
    return Shell(paths, capsys)


@pytest.fixture(scope="session")
def template(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_plans: Callable[..., Plans],
    write_untrained_model: Callable[..., None],
) -> Paths:
    """A raw dataset of five training and two test cases, preprocessed, with a model of random weights."""
    paths = Paths(*(tmp_path_factory.mktemp(name) for name in ("raw", "preprocessed", "results")))
    folder, rows = paths.raw(DATASET), ["case,organ,label"]
    for number in range(5):
        Shell.write_case(folder, "Tr", f"case_{number}", seed=number)
        rows += [f"case_{number},{organ},healthy" for organ in ORGANS]
    rows[-1] = rows[-1].replace("healthy", "unhealthy")
    for number in range(2):
        Shell.write_case(folder, "Ts", f"test_{number}", seed=10 + number)
    (folder / "organ_labels.csv").write_text("\n".join(rows) + "\n")
    description = {
        "channel_names": {"0": "CT"},
        "labels": {"background": 0, "tumor": 1},
        "numTraining": 5,
        "file_ending": ".nii.gz",
        "nnanomaly": {"organs": list(ORGANS)},
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    plans = tiny_plans("default", dataset=DATASET)
    api.extract_fingerprint(paths, DATASET, num_processes=1)
    api.plan_experiment(paths, DATASET, preset="default", gpu_memory_target_gb=0.5)
    save_plans(paths.plans(DATASET, plans.plans_name), plans)
    api.preprocess(paths, DATASET, plans_name=plans.plans_name, num_processes=1)
    write_untrained_model(paths, plans)
    return paths


@pytest.fixture
def raw(shell: Shell, template: Paths) -> Path:
    """A copy of the raw dataset."""
    return Path(shutil.copytree(template.raw(DATASET), shell.paths.raw(DATASET)))


@pytest.fixture
def preprocessed(shell: Shell, raw: Path, template: Paths) -> Path:
    """A copy of everything that planning wrote for it."""
    return Path(shutil.copytree(template.preprocessed(DATASET), shell.paths.preprocessed(DATASET)))


@pytest.fixture
def model(shell: Shell, raw: Path, template: Paths, tiny_plans: Callable[..., Plans]) -> Plans:
    """A copy of the model; its plans."""
    root, copied = template.results_root, shell.paths.results_root
    assert root is not None and copied is not None
    shutil.copytree(root, copied, dirs_exist_ok=True)
    return tiny_plans("default", dataset=DATASET)


@pytest.fixture
def draw_lesions() -> Callable[[Path], None]:
    """Writes a person's drawing of every training case into a raw dataset."""

    def draw(raw: Path) -> None:
        labels = np.zeros((1, *GRID.shape), np.uint8)
        labels[0, 7:11, 9:13, 21:25] = 1
        for case in range(5):
            write_volume(raw / "labelsTr" / f"case_{case}.nii.gz", Volume(labels, GRID))

    return draw

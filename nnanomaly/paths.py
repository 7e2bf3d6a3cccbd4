"""Where things lie: the only module that reads the environment, and the only one that spells folder and file names."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nnanomaly.utilities.errors import ConfigurationError

RAW, PREPROCESSED, RESULTS = "nnanomaly_raw", "nnanomaly_preprocessed", "nnanomaly_results"
IMAGES_TR, IMAGES_TS = "imagesTr", "imagesTs"
LABELS_TR, LABELS_TS = "labelsTr", "labelsTs"
ORGAN_MASKS_TR, ORGAN_MASKS_TS = "organMasksTr", "organMasksTs"
GT_SEGMENTATIONS = "gt_segmentations"
MAPS, RECONSTRUCTIONS, DETECTIONS = "anomaly_maps", "reconstructions", "detections"
AUTOENCODED = "autoencoded"
VALIDATION = "validation"
DATASET_JSON = "dataset.json"
PLANS_JSON = "plans.json"
FINGERPRINT_JSON = "dataset_fingerprint.json"
SPLITS_JSON = "splits_final.json"
ORGAN_LABELS_CSV = "organ_labels.csv"
ORGAN_MASKS_CSV = "organ_masks.csv"
VERIFY_REPORT_JSON = "verify_report.json"
SEGMENTATION_JSON = "segmentation.json"
LATENT_SCALING_JSON = "latent_scaling.json"
RECONSTRUCTION_GATE_JSON = "reconstruction_gate.json"
CALIBRATION_JSON = "calibration.json"
REDUCER_JSON = "reducer.json"
ANEW, BEFORE, ANEW_JSON = "anew", "before", "anew.json"
SWEEP, DIAGNOSE, BEST_CONFIGURATION = "sweep", "diagnose", "best_configuration"
SAMPLES, TRACKED, OVERLAYS = "samples", "tracking", "overlays"
ARGUMENTS_JSON = "predict_from_raw_data_args.json"
BOXES_ENDING = "_boxes.json"
SUMMARY_JSON = "summary.json"
DETECTION_SUMMARY_JSON = "detection_summary.json"
TRAINER = "nnAnomalyTrainer"
NO_TRACKER = "none"
TRACKERS = (NO_TRACKER, "tensorboard", "wandb", "mlflow")
"""Programs that may follow a training, by the names of their extras."""
DET_DATA, DET_MODELS = "det_data", "det_models"
DATASET_PATTERN = re.compile(r"Dataset([0-9]{3,})_(\w(?:[\w.+ -]{0,126}[\w.+-])?)\Z")
"""Names of datasets: letters and digits of any script, `_ - . +`, and spaces within."""
ALL_FOLDS = "all"
FOLD_PATTERN = re.compile(rf"0|[1-9][0-9]*|{ALL_FOLDS}")
"""Names of folds; `00` is none, or one fold would have two folders."""


@dataclass(frozen=True, slots=True)
class Paths:
    """The three root folders; a folder that is not set is only missed when it is used."""

    raw_root: Path | None
    """Raw datasets (`nnanomaly_raw`, else `nnUNet_raw`)."""
    preprocessed_root: Path | None
    """Fingerprints, plans, splits and patches (`nnanomaly_preprocessed`)."""
    results_root: Path | None
    """Trained models (`nnanomaly_results`)."""

    @classmethod
    def from_env(cls) -> "Paths":
        """Read the environment variables; nothing needs to be set."""
        return cls(_folder(RAW, "nnUNet_raw"), _folder(PREPROCESSED), _folder(RESULTS))

    def raw_folder(self) -> Path:
        """Folder of all raw datasets."""
        return _required(self.raw_root, RAW)

    def raw(self, dataset: str) -> Path:
        """Folder of a raw dataset."""
        return self.raw_folder() / dataset

    def preprocessed(self, dataset: str) -> Path:
        """Folder of a dataset's fingerprint, plans, splits and patches.

        Raises ConfigurationError (CFG-ENV) if it is the raw folder, whose label table and folds would be replaced.
        """
        root = _required(self.preprocessed_root, PREPROCESSED)
        if self.raw_root is not None and os.path.realpath(root) == os.path.realpath(self.raw_root):
            raise ConfigurationError(
                "CFG-ENV", f"{RAW} and {PREPROCESSED} are the same folder, {root}. Give each a folder of its own."
            )
        return root / dataset

    def results_folder(self) -> Path:
        """Folder of all trained models."""
        return _required(self.results_root, RESULTS)

    def plans(self, dataset: str, plans_name: str) -> Path:
        """The plans file."""
        return self.preprocessed(dataset) / f"{plans_name}.json"

    def patches(self, dataset: str, data_identifier: str) -> Path:
        """Folder of preprocessed patches."""
        return self.preprocessed(dataset) / data_identifier

    def model(self, dataset: str, plans_name: str, stage: str, trainer: str = TRAINER) -> Path:
        """Folder of one trained stage, all folds."""
        return self.results_folder() / dataset / f"{trainer}__{plans_name}__{stage}"

    def fold(self, dataset: str, plans_name: str, stage: str, fold: int | str, trainer: str = TRAINER) -> Path:
        """Folder of one trained stage and fold; raises ConfigurationError (CFG-FOLD) for what is no name of a fold."""
        return self.model(dataset, plans_name, stage, trainer) / f"fold_{check_fold(fold)}"

    def anew(self, dataset: str, plans_name: str, fold: int | str) -> "Paths":
        """The folders of a fold that is trained anew beside the one that predicts: results apart, the rest the same."""
        return replace(self, results_root=self.results_folder() / dataset / _beside(ANEW, plans_name, fold))

    def before(self, dataset: str, plans_name: str, fold: int | str) -> "Paths":
        """The folders of a fold as it was before it was trained anew."""
        return replace(self, results_root=self.results_folder() / dataset / _beside(BEFORE, plans_name, fold))

    def dataset_name(self, identifier: str) -> str:
        """Full dataset name for an id ("501") or a name, looked up in all folders that are set."""
        names = self.dataset_names()
        if identifier in names:
            return identifier
        number = int(identifier) if identifier.isdecimal() else None
        matches = sorted(name for name in names if number is not None and int(_match(name)[1]) == number)
        if len(matches) == 1:
            return matches[0]
        if len(matches) > 1:
            raise ConfigurationError(
                "CFG-DATASET", f"dataset id {identifier} is ambiguous: {', '.join(matches)}. Rename one."
            )
        places = {RAW: self.raw_root, PREPROCESSED: self.preprocessed_root, RESULTS: self.results_root}
        looked = ", ".join(f"{name}={folder}" for name, folder in places.items() if folder) or f"no folder: set {RAW}"
        raise ConfigurationError(
            "CFG-DATASET",
            f"no dataset {identifier!r} found (looked in {looked}; present: {', '.join(sorted(names)) or 'none'})",
        )

    def dataset_names(self) -> set[str]:
        """Names of all datasets in the folders that are set."""
        roots = [root for root in (self.raw_root, self.preprocessed_root, self.results_root) if root and root.is_dir()]
        return {
            path.name for root in roots for path in root.iterdir() if path.is_dir() and DATASET_PATTERN.match(path.name)
        }


@dataclass(frozen=True, slots=True)
class DetectionPaths:
    """The two root folders of nnDetection."""

    data_root: Path | None
    """Tasks, raw and preprocessed (`det_data`)."""
    models_root: Path | None
    """Trained models and predictions (`det_models`)."""

    @classmethod
    def from_env(cls) -> "DetectionPaths":
        """Read the environment variables; nothing needs to be set."""
        return cls(_folder(DET_DATA), _folder(DET_MODELS))

    def data(self) -> Path:
        """Folder of the tasks."""
        return _required(self.data_root, DET_DATA)

    def models(self) -> Path:
        """Folder of the models."""
        return _required(self.models_root, DET_MODELS)


@dataclass(frozen=True, slots=True)
class TotalSegmentatorPaths:
    """The folders of TotalSegmentator, which it finds by the same variables."""

    home: Path | None
    """Its home folder, if the user set one (`TOTALSEG_HOME_DIR`)."""
    weights: Path
    """Where its trained models lie (`TOTALSEG_WEIGHTS_PATH`, else `nnunet/results` in its home)."""

    @classmethod
    def from_env(cls) -> "TotalSegmentatorPaths":
        """Read the environment variables; nothing needs to be set."""
        home = _folder("TOTALSEG_HOME_DIR")
        default = (home or Path.home() / ".totalsegmentator") / "nnunet" / "results"
        return cls(home, _folder("TOTALSEG_WEIGHTS_PATH") or default)

    def environment(self, home: Path) -> dict[str, str]:
        """The environment of this process with these weights and another home, for a program that it starts."""
        return environment_with({"TOTALSEG_HOME_DIR": str(home), "TOTALSEG_WEIGHTS_PATH": str(self.weights)})


def calibration_json(checkpoint: str) -> str:
    """Name of the calibration that belongs to a checkpoint of the ddpm: calibration_best.json to checkpoint_best.pth.

    That of `checkpoint_final.pth` is calibration.json.
    """
    name = checkpoint.removeprefix("checkpoint_").removesuffix(".pth")
    return CALIBRATION_JSON if name == "final" else f"calibration_{name}.json"


def _beside(what: str, plans_name: str, fold: int | str) -> str:
    return f"{what}__{plans_name}__fold_{check_fold(fold)}"


def check_fold(fold: int | str) -> str:
    """The name of a fold as it stands in folder names; ConfigurationError for anything but 0, 1, ... and `all`."""
    if not FOLD_PATTERN.fullmatch(str(fold)):
        raise ConfigurationError(
            "CFG-FOLD", f"{str(fold)!r} is no fold. Type 0, 1, 2, ... without leading zeros, or {ALL_FOLDS}"
        )
    return str(fold)


def fold_order(fold: str) -> tuple[bool, int]:
    """Sorting key of the names of folds: by number, then `all`."""
    return fold == ALL_FOLDS, 0 if fold == ALL_FOLDS else int(fold)


def environment_for(paths: Paths) -> dict[str, str]:
    """The environment of this process with the three folder variables set, for commands that it starts."""
    folders = {RAW: paths.raw_root, PREPROCESSED: paths.preprocessed_root, RESULTS: paths.results_root}
    return environment_with({variable: str(folder.resolve()) for variable, folder in folders.items() if folder})


def environment_with(changes: Mapping[str, str]) -> dict[str, str]:
    """A copy of the environment of this process with some variables changed."""
    return {**os.environ, **changes}


def folder_settings() -> dict[str, str | None]:
    """The folder variables as they are set, whatever they hold; raw falls back to that of nnU-Net."""
    settings = {name: os.environ.get(name) or None for name in (RAW, PREPROCESSED, RESULTS)}
    return {**settings, RAW: settings[RAW] or os.environ.get("nnUNet_raw") or None}


def threads_from_env() -> int | None:
    """Threads of numerical libraries (`OMP_NUM_THREADS`), or None where it is not set to a number."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return int(value) if value.isdecimal() else None


def let_threads_sleep() -> None:
    """Make waiting threads of numerical libraries sleep instead of spin, unless the user chose; before they are loaded.

    A spinning thread takes the core that the thread it waits for needs: with one other busy process on two cores,
    a training step of two threads took six times as long as one of a single thread.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def number_of_workers_from_env() -> int | None:
    """Default number of processes (`nnanomaly_def_n_proc`), or None."""
    value = os.environ.get("nnanomaly_def_n_proc")
    if value is None:
        return None
    if not value.isdecimal() or int(value) < 1:
        raise ConfigurationError("CFG-ENV", f"nnanomaly_def_n_proc is {value!r}, but must be a positive whole number")
    return int(value)


def tracker_from_env() -> str:
    """Which tracker follows trainings (`nnanomaly_tracker`, else `none`); ConfigurationError for an unknown one."""
    value = os.environ.get("nnanomaly_tracker") or NO_TRACKER
    if value not in TRACKERS:
        raise ConfigurationError("CFG-ENV", f"nnanomaly_tracker is {value!r}, but must be one of {', '.join(TRACKERS)}")
    return value


def keep_trackers_local() -> None:
    """Let Weights & Biases and MLflow send nothing, no usage and no crash reports either, unless the user chose."""
    os.environ.setdefault("WANDB_MODE", "offline")
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # it refuses to write into a folder otherwise


def mlflow_server() -> str | None:
    """The store of MLflow that the user named (`MLFLOW_TRACKING_URI`), or None."""
    return os.environ.get("MLFLOW_TRACKING_URI")


def _folder(*variables: str) -> Path | None:
    for variable in variables:
        value = os.environ.get(variable)
        if value:
            folder = Path(value)
            if folder.exists() and not folder.is_dir():
                raise ConfigurationError(
                    "CFG-ENV", f"{variable} is {value!r}, which is not a folder. Set it to a folder."
                )
            return folder
    return None


def _required(folder: Path | None, variable: str) -> Path:
    if folder is None:
        raise ConfigurationError(
            "CFG-ENV", f"the environment variable {variable} is not set. Type: export {variable}=/a/folder"
        )
    return folder


def _match(name: str) -> re.Match[str]:
    match = DATASET_PATTERN.match(name)
    assert match is not None, name
    return match

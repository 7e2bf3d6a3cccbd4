"""A raw dataset: its description, its cases, and where the images and organ masks of a case lie.

Folders and `dataset.json` are nnU-Net's; what nnanomaly adds stands under the key "nnanomaly", which nnU-Net ignores.
An image is one file per channel, `{case}_{channel:04d}{file_ending}`. The weak labels are read in `organ_labels`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnanomaly.dataset.image_folder import misnamed_images, why_no_case
from nnanomaly.dataset.nnunet_labels import foreground
from nnanomaly.imageio.reader_writer import READER_WRITERS
from nnanomaly.paths import DATASET_JSON, IMAGES_TR
from nnanomaly.plans import LONGEST_ORGAN, ORGAN_PATTERN
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.json_io import read_json, shown

ENDING_PATTERN = re.compile(r"(\.[A-Za-z0-9]{1,12}){1,3}")
"""Endings of images, such as `.nii.gz`."""
LABEL_PATTERN = re.compile(r"[^\x00-\x1f\x7f-\x9f/\\<>\u200b-\u200f\u2028-\u202e\u2060-\u2069]{1,100}")
"""Names of labels and channels: one line of text without signs that steer terminals or pages."""
CASE_PATTERN = re.compile(r"[^\W_][\w.+-]{0,127}")
OUR_KEYS = ("organs", "lesion_labels", "organ_mask_labels")
EXAMPLE = (
    '{"channel_names": {"0": "CT"}, "labels": {"background": 0, "tumor": 1}, "numTraining": 85, '
    '"file_ending": ".nii.gz", "nnanomaly": {"organs": ["kidney_left", "kidney_right"], "lesion_labels": ["tumor"]}}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetDescription:
    """The content of `dataset.json`; keys that are not listed here are tolerated."""

    channel_names: tuple[str, ...]
    """Name of every image channel, in order; only the first, the CT, is used."""
    labels: dict[str, tuple[int, ...]]
    """Values in the label maps per label name (several for a region of nnU-Net)."""
    file_ending: str
    """Ending of images and label maps, such as `.nii.gz`."""
    num_training: int
    """Number of training cases the author of the dataset counted."""
    organs: tuple[str, ...]
    """Organs to look at, named as their masks."""
    lesion_labels: tuple[str, ...] = ()
    """Names in `labels` that are lesions; evaluation alone needs them."""
    organ_mask_labels: dict[str, int] | None = None
    """Value of every organ where a case has one mask file for all organs."""

    @property
    def lesion_values(self) -> tuple[int, ...]:
        """Values in a label map that are lesions, ascending."""
        return tuple(sorted({value for name in self.lesion_labels for value in self.labels[name]}))


def load_description(folder: Path) -> DatasetDescription:
    """Read `dataset.json` in a dataset folder; missing or wrong keys raise `DataError` with an example."""
    path = folder / DATASET_JSON
    if not path.is_file():
        for place in (folder.parent, folder):
            if not place.is_dir():
                raise DataError(
                    "DATA-FOLDER", f"{place} is not a folder. Set nnanomaly_raw to the folder of the raw datasets."
                )
        raise DataError("DATA-JSON", f"{path} does not exist. Write it; an example: {EXAMPLE}")
    document = read_json(path)
    _require(isinstance(document, dict), path, "must be an object")
    _refuse_first_version(path, document)
    ours = document.get("nnanomaly")
    _require(isinstance(ours, dict), path, 'needs the key "nnanomaly" with the organs to look at')
    labels = _labels(path, document.get("labels"))
    ending, count = document.get("file_ending"), document.get("numTraining")
    known = " and ".join(READER_WRITERS)
    readable = isinstance(ending, str) and ending in READER_WRITERS
    _require(readable, path, f"file_ending is {shown(ending)}; read are {known}, so convert the images")
    _require(_is_count(count), path, f"numTraining is {shown(count)}, must be a number of cases")
    organs = _organs(path, ours.get("organs"))
    return DatasetDescription(
        channel_names=_channels(path, document.get("channel_names", document.get("modality"))),
        labels=labels,
        file_ending=str(ending),
        num_training=int(count),
        organs=organs,
        lesion_labels=_lesion_labels(path, ours.get("lesion_labels"), labels),
        organ_mask_labels=_organ_mask_labels(path, ours.get("organ_mask_labels"), organs),
    )


def plain_description(organs: tuple[str, ...], images_folder: Path) -> DatasetDescription:
    """The description of a folder of CT that belongs to no dataset: these organs, the ending of most of its images.

    Raises `DataError` (DATA-JSON) for what is no name of an organ.
    """
    names = [path.name for path in images_folder.iterdir()] if images_folder.is_dir() else []
    return DatasetDescription(
        channel_names=("CT",),
        labels={"background": (0,)},
        file_ending=max(READER_WRITERS, key=lambda ending: sum(name.endswith(ending) for name in names)),
        num_training=0,
        organs=_organs(Path("-organs"), list(organs)),
    )


def check_case_id(case: str, source: Path) -> None:
    """Refuse a case id that could leave its folder or break a tool; output names are built from it."""
    if not CASE_PATTERN.fullmatch(case) or ".." in case:
        raise DataError(
            "CASE-ID",
            f"{source}: {case!r} is no valid case id. Use at most 128 letters, digits, '.', '_', '-', '+', no '..'.",
        )


def find_cases(images_folder: Path, file_ending: str) -> list[str]:
    """Ids of all cases in a folder of images, sorted; hidden files and names of another form are passed over.

    An id of an unsafe form raises `DataError`; a missing folder has no cases.
    """
    if not images_folder.is_dir():
        return []
    pattern = re.compile(rf"(.+)_\d{{4}}{re.escape(file_ending)}")
    names = (path.name for path in images_folder.iterdir() if not path.name.startswith("."))
    cases = sorted({match[1] for match in map(pattern.fullmatch, names) if match})
    for case in cases:
        check_case_id(case, images_folder)
    return cases


def list_cases(images_folder: Path, file_ending: str) -> list[str]:
    """`find_cases`, but a folder that is missing or has none raises `DataError`."""
    if not images_folder.is_dir():
        raise DataError(
            "DATA-FOLDER", f"{images_folder} is not a folder. Put images named case_0000{file_ending} there."
        )
    cases = find_cases(images_folder, file_ending)
    if not cases:
        raise DataError(
            "DATA-CASES", f"no case in {images_folder}: it holds {why_no_case(images_folder, file_ending)}."
        )
    return cases


def images_of_no_case(images_folder: Path, cases: Sequence[str], description: DatasetDescription) -> list[str]:
    """Names of the images in a folder that are no channel of one of its cases, sorted."""
    channels = range(len(description.channel_names))
    return misnamed_images(images_folder, (f"{c}_{n:04d}{description.file_ending}" for c in cases for n in channels))


def training_cases(folder: Path) -> list[str]:
    """Ids of the training cases of a dataset folder, sorted."""
    return list_cases(folder / IMAGES_TR, load_description(folder).file_ending)


def image_files(images_folder: Path, case: str, description: DatasetDescription) -> list[Path]:
    """Files of a case in the order of the channels; a missing one raises `DataError`."""
    channels = range(len(description.channel_names))
    files = [images_folder / f"{case}_{channel:04d}{description.file_ending}" for channel in channels]
    for path, channel in zip(files, description.channel_names, strict=True):
        if not path.exists() and not path.is_symlink():  # a link to nothing is a fault of the file, not of its name
            raise DataError(
                "DATA-CHANNEL", f"{case}: {path} ({channel}) does not exist. Add it, or mend channel_names."
            )
    return files


def _refuse_first_version(path: Path, document: dict[str, Any]) -> None:
    """nnU-Net version 1 and the Decathlon list values before names, and cases by their files."""
    labels = document.get("labels")
    if isinstance(labels, dict) and labels.get("0") is not None and "background" not in labels:
        raise DataError(
            "DATA-JSON",
            f"{path} has labels from values to names, as nnU-Net 1 and the Decathlon. Convert the task with "
            "nnanomaly_convert_msd, or write names to values.",
        )


def _require(condition: bool, path: Path, fault: str) -> None:
    if not condition:
        raise DataError("DATA-JSON", f"{path}: {fault}. An example: {EXAMPLE}")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _channels(path: Path, value: Any) -> tuple[str, ...]:
    _require(isinstance(value, dict) and len(value) > 0, path, f"channel_names is {shown(value)}, must be an object")
    keys = [str(channel) for channel in range(len(value))]
    _require(sorted(value) == sorted(keys), path, f"channel_names has the keys {shown(sorted(value))}, must be {keys}")
    _require(
        all(isinstance(name, str) and LABEL_PATTERN.fullmatch(name) for name in value.values()),
        path,
        f"channel_names is {shown(value)}, must hold names",
    )
    return tuple(value[key] for key in keys)


def _labels(path: Path, value: Any) -> dict[str, tuple[int, ...]]:
    _require(isinstance(value, dict), path, f"labels is {shown(value)}, must be an object of names and values")
    labels = {name: tuple(item) if isinstance(item, list) else (item,) for name, item in value.items()}
    sound = all(len(values) > 0 and all(map(_is_count, values)) for values in labels.values())
    _require(sound, path, f"labels is {shown(value)}, must give a whole number (or several) for every name")
    strange = [name for name in labels if not LABEL_PATTERN.fullmatch(name)]
    _require(not strange, path, f"labels has the name {shown(strange[:1])}, must be one line of plain text")
    _require(labels.get("background") == (0,), path, 'labels must give "background" the value 0')
    return labels


def _organs(path: Path, value: Any) -> tuple[str, ...]:
    named = isinstance(value, list) and len(value) > 0 and all(isinstance(organ, str) for organ in value)
    _require(named, path, f'"nnanomaly": organs is {shown(value)}, must be a list of names')
    for organ in value:
        sound = bool(ORGAN_PATTERN.fullmatch(organ)) and len(organ) <= LONGEST_ORGAN and value.count(organ) == 1
        _require(
            sound, path, f'"nnanomaly": organ {shown(organ)} must be unique, of letters, digits, "-" and single "_"'
        )
    return tuple(value)


def _lesion_labels(path: Path, value: Any, labels: dict[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The named labels, of which "ignore" is none; a dataset with a single foreground label needs to name none."""
    names = list(foreground(labels))
    if value is None:
        return tuple(names) if len(names) == 1 else ()
    _require(isinstance(value, list), path, f'"nnanomaly": lesion_labels is {shown(value)}, must be a list of names')
    unknown = [name for name in value if name not in names]
    _require(not unknown, path, f'"nnanomaly": lesion_labels {shown(unknown)} are not among labels {shown(names)}')
    return tuple(value)


def _organ_mask_labels(path: Path, value: Any, organs: tuple[str, ...]) -> dict[str, int] | None:
    if value is None:
        return None
    sound = isinstance(value, dict) and all(_is_count(item) and item > 0 for item in value.values())
    _require(sound, path, f'"nnanomaly": organ_mask_labels is {shown(value)}, must give every organ a positive value')
    missing = [organ for organ in organs if organ not in value]
    _require(not missing, path, f'"nnanomaly": organ_mask_labels lacks {missing}')
    return dict(value)

"""What a model archive holds: its table of contents, and the only names that may stand in it."""

import re
from dataclasses import dataclass

from nnanomaly.paths import CALIBRATION_JSON, DATASET_JSON, LATENT_SCALING_JSON, PLANS_JSON, REDUCER_JSON
from nnanomaly.stages import NETWORKS

FORMAT = "nnanomaly-model"
FORMAT_VERSION = 1
MANIFEST_JSON = "manifest.json"
MODEL_CARD = "MODEL_CARD.md"
_STAGE_NAMES = "|".join(NETWORKS)
_FOLD_DOCUMENTS = "|".join(map(re.escape, (CALIBRATION_JSON, LATENT_SCALING_JSON, REDUCER_JSON)))
_FOLD_FILES = rf"({_STAGE_NAMES})\.(safetensors|json)|{_FOLD_DOCUMENTS}"
_TOP_FILES = "|".join(map(re.escape, (MANIFEST_JSON, MODEL_CARD, PLANS_JSON, DATASET_JSON)))
MEMBER_PATTERN = re.compile(rf"{_TOP_FILES}|fold_(0|[1-9][0-9]*|all)/({_FOLD_FILES})")
"""Names of members; no other is ever read or written, so that no name can lead out of a folder."""
NAME_PATTERN = re.compile(r"\w(?:[\w.+ -]{0,98}[\w.+-])?")
"""Names of datasets and plans, which become parts of folder names: letters and digits of any script, `_ - . +`, and
spaces within."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEntry:
    """One member of the archive."""

    sha256: str
    """Its hash."""
    num_bytes: int
    """Its size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Content of manifest.json; every member but the manifest itself is in its table."""

    format: str
    """`nnanomaly-model`."""
    format_version: int
    """1; a reader refuses a larger one."""
    nnanomaly_version: str
    """Version that exported."""
    dataset: str
    """Name of the dataset, which the model is installed under."""
    plans_name: str
    """Name of the plans, likewise."""
    folds: tuple[str, ...]
    """Names of the folds."""
    checkpoint: str
    """Which checkpoint of the ddpm was exported; it is installed as the final one."""
    licence: str
    """What its author allows, in his words."""
    origin: str
    """Who made it, in his words."""
    files: dict[str, FileEntry]
    """All other members."""

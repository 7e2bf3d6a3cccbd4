"""The page of the plans file, from its dataclasses and the presets."""

import dataclasses
import inspect
from typing import Any, get_type_hints

import numpy as np

from documentation.generator.fields import json_text, rows
from documentation.generator.markdown import code, page, table
from nnanomaly.experiment_planning.fingerprint import CaseFingerprint, Fingerprint, OrganRecord, combine
from nnanomaly.experiment_planning.planner import plan
from nnanomaly.experiment_planning.presets import PRESETS
from nnanomaly.plans import (
    GatePlan,
    InferencePlan,
    OrganDomain,
    Plans,
    PreprocessingPlan,
    TrainingPlan,
)
from nnanomaly.stages import NETWORKS

SECTIONS: dict[type, str] = {
    Plans: "Top level",
    PreprocessingPlan: "preprocessing",
    **{get_type_hints(Plans)[stage]: stage for stage in NETWORKS},
    GatePlan: "vqgan.gate",
    TrainingPlan: "training",
    InferencePlan: "inference",
    OrganDomain: "domain",
}
"""Headings, by the key that holds the fields."""

INTRODUCTION = """\
`$nnanomaly_preprocessed/Dataset501_Kidney/nnAnomalyPlans.json` holds everything that was decided about a dataset, and
`reasons` in it says why. Any number may be edited before the training; a value out of range is refused in one line,
with the field and the rule. The preset `paper` has a file of its own, `nnAnomalyPaperPlans.json`.

STAGES stand under `configurations`, everything else at the top. A stage may say
`"inherits_from": "vqgan"` (or another name) and then only what it changes. `previous_stage`, `latent_shape` and
`image_reader_writer` are for readers and for nnU-Net's tools, and are not read.

```json
{
  "schema_version": 1,
  "dataset_name": "Dataset501_Kidney",
  "preprocessing": {"spacing_mm": [1.0, 1.0, 1.0], "...": "..."},
  "inference": {"sigma": 2.0, "...": "..."},
  "configurations": {
    "vqgan": {"codec": "vq", "...": "..."},
    "classifier": {"...": "..."},
    "ddpm": {"...": "..."},
    "head": {"...": "..."}
  }
}
```

`schema_version` must be 1. Sizes are (z, y, x). A field without a default must be there. [What the presets
set](#what-the-presets-set) stands at the end.
"""

PLANNED = "*planned*"
PRESET_TEXT = """\
Fields that the presets set differently, or that are planned. *planned*: chosen from the dataset and the memory, with
the reason in the file. `-preset paper` takes the numbers of the paper as they stand.
"""


def plans_page() -> str:
    """The page."""
    links = {kind: f"[{title}](#{title.replace('.', '')})" for kind, title in SECTIONS.items()}
    parts = []
    for kind, title in SECTIONS.items():
        text = inspect.cleandoc(kind.__doc__ or "")
        body = table(("field", "type", "default", "meaning"), rows(kind, links, defaults=True))
        parts.append(f"## {title}\n\n{text}\n\n{body}")
    presets = table(("field", *map(code, PRESETS)), preset_rows())
    introduction = INTRODUCTION.replace("STAGES", f"{', '.join(map(code, NETWORKS[:-1]))} and {code(NETWORKS[-1])}")
    return page("Plans", introduction, [*parts, f"## What the presets set\n\n{PRESET_TEXT}\n{presets}"])


def preset_rows() -> list[tuple[str, ...]]:
    """A row for every field that is planned or not the same in all presets: its name, and its value in each."""
    columns = [_settings(name) for name in PRESETS]
    return [
        (code(field), *(column[field] for column in columns))
        for field in columns[0]
        if len({column[field] for column in columns}) > 1 or columns[0][field] == PLANNED
    ]


def _settings(preset: str) -> dict[str, str]:
    """Every field of a preset as text, `planned` where the planner gives a reason of its own or another value."""
    base = PRESETS[preset]
    planned = plan(
        _fingerprint(), gpu_memory_target_gb=8.0, preset=preset, dataset_name="Dataset501_Any", organs=("organ",)
    )
    reasons = set(planned.reasons) - set(base.reasons)
    before, after = _flat(base), _flat(planned)
    return {
        field: PLANNED if field in reasons or after[field] != value else json_text(value)
        for field, value in before.items()
    }


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Fields of a dataclass and of those in it, by names such as `vqgan.training.seed`."""
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        item = getattr(value, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(item):
            fields |= _flat(item, f"{name}.")
        elif prefix:
            fields[name] = item
    return fields


def _fingerprint() -> Fingerprint:
    """A dataset of some size, unlike every placeholder in the presets."""
    return combine(
        [
            CaseFingerprint(
                case=f"case_{number}",
                spacing_mm=(3.0, 0.7, 0.7),
                shape=(100, 512, 512),
                organs=(
                    OrganRecord(
                        case=f"case_{number}",
                        organ="organ",
                        label="unhealthy" if number % 3 else "healthy",
                        extent_mm=(90.0, 60.0, 55.0),
                        volume_ml=150.0,
                        touches_border=(),
                        num_components=1,
                    ),
                ),
                num_absent=0,
                scan_hash=str(number),
                intensities_hu=np.zeros(2, np.float32),
            )
            for number in range(60)
        ]
    )

"""The card of an exported model: Markdown for people, filled from its plans and calibrations. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnanomaly.dataset.organ_labels import LABELS
from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.inference.calibration import Calibration
from nnanomaly.plans import InferencePlan, Plans
from nnanomaly.stages import HEAD
from nnanomaly.utilities.shown_text import command_line

INTENDED = (
    "Weakly supervised detection of lesions: the model reconstructs an organ as if it were healthy and marks where the "
    "scan differs. It was trained on organs labelled healthy or unhealthy by a word, not on drawn lesions. A candidate "
    "is a place worth a second look, not a diagnosis. The model is no medical device."
)
LIMITATIONS = (
    "CT of one channel; HU outside the window are clipped.",
    "Organs without a mask are not looked at. An empty mask is reported as such, never as the absence of lesions.",
    "Published results of this family of methods on patients are far below those of supervised detectors.",
    "The labels decide what counts as healthy; errors in reports were learnt.",
    "The threshold was calibrated on the healthy organs counted above. Another hospital, scanner or contrast phase can "
    "shift the residuals: look at healthy cases of your own first.",
    "The weights were learnt from patients' scans. Whether they may be passed on is for their owner to decide.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """What the card says besides the plans."""

    version: str
    """Version of nnanomaly."""
    checkpoint: str
    """Checkpoint of the ddpm that was exported."""
    licence: str
    """The author's words."""
    origin: str
    """The author's words."""
    num_values: Mapping[str, int]
    """Numbers in the weights of every stage, one fold."""
    labels: Mapping[tuple[str, str], str] | None
    """Label of every (case, organ) of the training set; None where it is not known. Only counts of it are shown."""


def model_card(
    plans: Plans, description: DatasetDescription, calibrations: Mapping[str, Calibration], facts: CardFacts
) -> str:
    """The text of the card. `calibrations`: by fold. No case id and no path stands in it."""
    sections = {
        f"{plans.dataset_name}, plans {plans.plans_name}": [INTENDED],
        "Trained on": _training(plans, description, facts.labels),
        "Method": _method(plans, calibrations, facts),
        "Calibration": _calibration(calibrations),
        "Limitations": [f"- {line}" for line in LIMITATIONS],
        "Licence": [facts.licence or "Not stated. Ask its author before you use or pass on the model."],
        "Origin": [facts.origin or "Not stated."],
        "Use": [
            "    nnanomaly_install_pretrained_model_from_zip MODEL.zip",
            f"    {predict_command(plans.dataset_name, plans.plans_name)}",
        ],
    }
    text = "\n\n".join(
        f"{'#' if number == 0 else '##'} {title}\n\n" + "\n".join(lines)
        for number, (title, lines) in enumerate(sections.items())
    )
    return text + "\n"


def predict_command(dataset: str, plans_name: str) -> str:
    """What predicts with an installed model."""
    return command_line("nnanomaly_predict", "-i", "IMAGES", "-o", "PREDICTIONS", "-d", dataset, "-p", plans_name)


def _training(plans: Plans, description: DatasetDescription, labels: Mapping[tuple[str, str], str] | None) -> list[str]:
    cases = description.num_training if labels is None else len({case for case, _ in labels})
    rows = [
        ("Cases", str(cases)),
        ("Image", ", ".join(description.channel_names)),
        ("Organs", ", ".join(plans.organs)),
    ]
    if labels is not None:
        counts = Counter((organ, label) for (_, organ), label in labels.items())
        rows += [(organ, ", ".join(f"{counts[organ, label]} {label}" for label in LABELS)) for organ in plans.organs]
    return _table(("what", "value"), rows)


def _method(plans: Plans, calibrations: Mapping[str, Calibration], facts: CardFacts) -> list[str]:
    preprocessing, inference = plans.preprocessing, plans.inference
    size_mm = " x ".join(f"{size:g}" for size in preprocessing.patch_mm)
    spacing = " x ".join(f"{size:g}" for size in preprocessing.spacing_mm)
    low, high = preprocessing.window_hu
    stages = [
        (f"Stage {stage}", f"{plans.training_of(stage).num_iterations} iterations, {number:,} numbers")
        for stage, number in facts.num_values.items()
    ]
    rows = [
        ("Preset", plans.preset),
        ("Spacing (z, y, x)", f"{spacing} mm"),
        ("Patch (z, y, x)", f"{size_mm} mm"),
        ("Window", f"{low:g} to {high:g} HU"),
        ("Codec", plans.vqgan.codec),
        *stages,
        ("Noise level", f"sigma {inference.sigma:g}, {inference.num_steps} steps of {inference.sampler}"),
        ("Guidance", _guidance(inference, calibrations)),
        ("Detector", _detector(inference)),
        ("Checkpoint", facts.checkpoint),
        ("Exported by", f"nnanomaly {facts.version}"),
    ]
    return _table(("what", "value"), rows)


def _guidance(inference: InferencePlan, calibrations: Mapping[str, Calibration]) -> str:
    """What guides, as it was calibrated: a poor classifier switches planned guidance off."""
    if inference.guidance == "none":
        return "none"
    planned = f"{inference.guidance}, scale {inference.guidance_scale:g}"
    unguided = [fold for fold, calibration in calibrations.items() if not calibration.guidance]
    if not unguided:
        return planned
    if len(unguided) == len(calibrations):
        return f"none: planned was {planned}, but the classifier is too poor for it"
    return f"{planned}; none in fold {', '.join(unguided)}, whose classifier is too poor for it"


def _detector(inference: InferencePlan) -> str:
    named = {HEAD: "the lesion head", "both": f"the mean of lesion head and residual ({inference.anomaly_map})"}
    return named.get(inference.detector, f"{inference.detector} ({inference.anomaly_map})")


def _calibration(calibrations: Mapping[str, Calibration]) -> list[str]:
    rows = [
        (
            fold,
            str(item.num_organs),
            f"{item.threshold:.4g}",
            f"{item.false_candidates_per_organ:.2f}",
            "yes" if item.guidance else "no",
        )
        for fold, item in calibrations.items()
    ]
    return _table(("fold", "healthy organs", "threshold", "false candidates per healthy organ", "guided"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]

"""Overlay pictures of a dataset: what preprocessing reads, a PNG per training case; a fault costs one case."""

import functools
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from nnanomaly.dataset.organ_labels import OrganLabels, load_organ_labels
from nnanomaly.dataset.raw_dataset import DatasetDescription, image_files, load_description, training_cases
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.imageio.voxel_values import padding_as_air
from nnanomaly.paths import IMAGES_TR, ORGAN_MASKS_TR
from nnanomaly.plans import PreprocessingPlan
from nnanomaly.preprocessing.overlay_figure import OutlinedOrgan, overlay_figure
from nnanomaly.preprocessing.preprocessor import read_organ_mask
from nnanomaly.roi.mask_quality import MaskQuality, measure_mask, suspicions
from nnanomaly.roi.organ_instances import mask_box
from nnanomaly.utilities.case_faults import CaseFault, case_fault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import ConfigurationError, UserError
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.matching import some_of
from nnanomaly.volume import Volume

logger = logging.getLogger(__name__)
UNLABELLED = "no weak label"
DPI = 100
MARK = "nnanomaly_plot_overlay_pngs"
"""Stands in the first bytes of our pictures, so that a later run knows which it may replace."""
HEAD_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayReport:
    """What became of the cases of a dataset."""

    num_drawn: int
    """Cases with a picture."""
    suspicious: tuple[str, ...]
    """Those with something odd about a mask."""
    failed: tuple[str, ...]
    """Those without a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseTask:
    raw_folder: Path
    case: str
    description: DatasetDescription
    labels: OrganLabels
    window_hu: tuple[float, float]
    out_path: Path


def draw_overlays(
    raw_folder: Path,
    plan: PreprocessingPlan,
    folder: Path,
    *,
    num_processes: int,
    progress: Progress | None = None,
) -> OverlayReport:
    """Write `folder/{case}.png` for every training case; faults and suspicious masks are logged, a line each.

    Pictures of an earlier run are replaced; others of these names raise `ConfigurationError` (CFG-OUTPUT).

    The image is shown in the window of the plan, as networks see it. Every process holds one scan and one whole mask.
    """
    description, labels = load_description(raw_folder), load_organ_labels(raw_folder)
    tasks = [
        _CaseTask(
            raw_folder=raw_folder,
            case=case,
            description=description,
            labels={key: label for key, label in labels.items() if key[0] == case},
            window_hu=plan.window_hu,
            out_path=folder / f"{case}.png",
        )
        for case in training_cases(raw_folder)
    ]
    _refuse_other_pictures(folder, [task.out_path for task in tasks])
    outcomes = run_cases(_draw_case, tasks, num_processes=num_processes, progress=progress)
    suspicious, failed = [], []
    for task, outcome in zip(tasks, outcomes, strict=True):
        if isinstance(outcome, CaseFault):
            failed.append(task.case)
            logger.error("%s: %s", task.case, outcome.reason)
        elif outcome:
            suspicious.append(task.case)
            logger.warning("%s: %s", task.case, "; ".join(outcome))
    return OverlayReport(num_drawn=len(tasks) - len(failed), suspicious=tuple(suspicious), failed=tuple(failed))


def _refuse_other_pictures(folder: Path, paths: list[Path]) -> None:
    foreign = [path.name for path in paths if os.path.lexists(path) and not _is_ours(path)]
    if foreign:
        raise ConfigurationError(
            "CFG-OUTPUT",
            f"{folder} holds pictures that are not of this command: {some_of(foreign)}. Name another folder with -o.",
        )


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return MARK.encode() in file.read(HEAD_BYTES)


def _draw_case(task: _CaseTask) -> tuple[str, ...]:
    """Draw one case; what is odd about its masks."""
    image = image_files(task.raw_folder / IMAGES_TR, task.case, task.description)[0]
    organs = _organs(task, image)
    scan = reader_writer_for(image).read_volume(image)
    scan = replace(scan, array=padding_as_air(scan.array))
    figure = overlay_figure(task.case, scan, organs, window_hu=task.window_hu)
    write_atomically(task.out_path, functools.partial(figure.savefig, dpi=DPI, metadata={"Software": MARK}))
    return tuple(f"{organ.name}: {organ.text}" for organ in organs if organ.suspicious)


def _organs(task: _CaseTask, image: Path) -> list[OutlinedOrgan]:
    """All organs of the dataset, cropped to their boxes; a mask that cannot be used becomes a red line."""
    masks: dict[str, Volume | None] = {}
    measured: list[MaskQuality] = []
    faults: dict[str, str] = {}
    for organ in task.description.organs:
        try:
            mask, _ = read_organ_mask(
                task.raw_folder / ORGAN_MASKS_TR, task.case, organ, image=image, description=task.description
            )
        except (UserError, OSError) as error:
            faults[organ] = case_fault(error).reason
            continue
        measured.append(measure_mask(mask, case=task.case, organ=organ))
        box = mask_box(mask)
        masks[organ] = (
            None if box is None else Volume(mask.array[(slice(None), *box.slices)].copy(), mask.grid.crop(box))
        )
    odd = suspicions(measured)
    volumes = {quality.organ: f"{quality.volume_ml:.0f} ml" for quality in measured}
    organs = []
    for organ in task.description.organs:
        remarks = [faults[organ]] if organ in faults else [text for _, text in odd.get((task.case, organ), [])]
        facts = [task.labels.get((task.case, organ), UNLABELLED), *([volumes[organ]] if organ in volumes else [])]
        organs.append(
            OutlinedOrgan(
                name=organ, text=", ".join([*facts, *remarks]), suspicious=bool(remarks), mask=masks.get(organ)
            )
        )
    return organs

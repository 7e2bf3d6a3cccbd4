"""The fingerprint of a raw dataset on disk: scans and organ masks are read case by case, in several processes."""

from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dataset.organ_labels import EXCLUDED, load_organ_labels
from nnanomaly.dataset.organ_mask_files import OrganMaskFile, find_organ_mask, require_organ_mask
from nnanomaly.dataset.raw_dataset import (
    DatasetDescription,
    image_files,
    training_cases,
)
from nnanomaly.experiment_planning.domain import scans_not_in_hu
from nnanomaly.experiment_planning.fingerprint import CaseFingerprint, Fingerprint, analyze_case, combine
from nnanomaly.imageio.reader_writer import check_content, reader_writer_for
from nnanomaly.paths import IMAGES_TR, ORGAN_MASKS_TR
from nnanomaly.roi.organ_masks import load_organ_mask
from nnanomaly.utilities.case_faults import CaseFault
from nnanomaly.utilities.case_runner import Progress, run_cases
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.matching import one_a_line

SEED = 1234
NUM_SAMPLES = 10_000_000
MOST_SAMPLES_PER_ORGAN = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _CaseTask:
    """One case to measure, in a form that can be sent to another process."""

    raw_folder: Path
    case: str
    description: DatasetDescription
    labels: dict[str, str]
    num_samples: int


def extract_fingerprint(
    raw_folder: Path, description: DatasetDescription, *, num_processes: int, progress: Progress | None = None
) -> Fingerprint:
    """Fingerprint of the training cases of a raw dataset; it does not depend on `num_processes`.

    Cases that cannot be read are collected, and one `DataError` at the end names all of them.
    """
    cases = training_cases(raw_folder)
    labels = load_organ_labels(raw_folder)
    num_samples = max(1, min(MOST_SAMPLES_PER_ORGAN, NUM_SAMPLES // (len(cases) * len(description.organs))))
    tasks = [
        _CaseTask(
            raw_folder=raw_folder,
            case=case,
            description=description,
            labels={organ: labels[case, organ] for organ in description.organs if (case, organ) in labels},
            num_samples=num_samples,
        )
        for case in cases
    ]
    outcomes = run_cases(_measure, tasks, num_processes=num_processes, progress=progress)
    faults = {
        case: outcome.reason for case, outcome in zip(cases, outcomes, strict=True) if isinstance(outcome, CaseFault)
    }
    measured = [outcome for outcome in outcomes if not isinstance(outcome, CaseFault)]
    faults = faults or dict(scans_not_in_hu(measured))
    if faults:
        _refuse(faults)
    return combine(measured)


def _refuse(faults: dict[str, str]) -> None:
    lines = [f"{case}: {fault}" for case, fault in faults.items()]
    raise DataError("IO-CASES", f"{len(faults)} cases cannot be used.{one_a_line(lines)}")


def _measure(task: _CaseTask) -> CaseFingerprint:
    """Fingerprint of one case."""
    path = image_files(task.raw_folder / IMAGES_TR, task.case, task.description)[0]
    image = reader_writer_for(path).read_volume(path)
    check_content(image, path)
    files = {organ: file for organ in task.description.organs if (file := _mask_file(task, organ)) is not None}
    return analyze_case(
        image,
        {organ: load_organ_mask(file.path, file.label, grid=image.grid, image=path) for organ, file in files.items()},
        case=task.case,
        labels=task.labels,
        num_samples=task.num_samples,
        seed=SEED,
    )


def _mask_file(task: _CaseTask, organ: str) -> OrganMaskFile | None:
    """Where the mask of an organ lies; only an excluded organ may have none."""
    folder = task.raw_folder / ORGAN_MASKS_TR
    find = find_organ_mask if task.labels.get(organ) == EXCLUDED else require_organ_mask
    return find(folder, task.case, organ, description=task.description)

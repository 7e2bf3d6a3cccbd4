"""What the planning commands call: check a raw dataset, measure it, plan, cut its organ patches. Usable from Python.

Every step reads what the one before wrote, and does nothing twice: a fingerprint that still fits the dataset is kept,
and so are patches that were cut from the same files with the same settings. Drawn lesions are copied for the
evaluation, unopened.
"""

import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

from nnanomaly.dataset.integrity import verify_dataset_integrity
from nnanomaly.dataset.organ_labels import (
    OrganLabels,
    cases_with_lesions,
    load_organ_labels,
    patient_groups,
    write_label_snapshot,
)
from nnanomaly.dataset.raw_dataset import load_description, training_cases
from nnanomaly.dataset.same_scans import leaks
from nnanomaly.dataset.splits import Split, find_splits, prepare_splits, split_remarks
from nnanomaly.experiment_planning import extraction, planner
from nnanomaly.experiment_planning.fingerprint import (
    SCHEMA_VERSION,
    UNLABELLED,
    Fingerprint,
    load_fingerprint,
    save_fingerprint,
)
from nnanomaly.experiment_planning.verification import report_verification, verify_dataset
from nnanomaly.paths import DATASET_JSON, FINGERPRINT_JSON, GT_SEGMENTATIONS, LABELS_TR, SPLITS_JSON, Paths
from nnanomaly.plans import PLANS_NAMES, Plans, load_plans, save_plans
from nnanomaly.preprocessing.preprocessor import preprocess_dataset
from nnanomaly.preprocessing.report import PreprocessingReport
from nnanomaly.stages import STAGES
from nnanomaly.utilities.errors import ConfigurationError, DataError, UserError
from nnanomaly.utilities.files import write_atomically
from nnanomaly.utilities.matching import one_a_line
from nnanomaly.utilities.progress import progress_bar
from nnanomaly.utilities.shown_text import command_line

MOST_FAILURES_SHOWN = 20
logger = logging.getLogger(__name__)


def plan_and_preprocess(
    paths: Paths, dataset: str, *, preset: str = "default", gpu_memory_target_gb: float = 8.0, num_processes: int = 1
) -> int:
    """From a raw dataset to patches that can be trained on; returns the number of organs that failed."""
    extract_fingerprint(paths, dataset, num_processes=num_processes)
    plan_experiment(paths, dataset, preset=preset, gpu_memory_target_gb=gpu_memory_target_gb)
    return preprocess(paths, dataset, plans_name=PLANS_NAMES[preset], num_processes=num_processes)


def extract_fingerprint(
    paths: Paths, dataset: str, *, num_processes: int, clean: bool = False, verify: bool = False
) -> Fingerprint:
    """Check the dataset and its folds, then measure every scan, unless a fingerprint that fits it is there already.

    `clean`: measure in any case. `verify`: read every file to its last byte first and report all faults of all cases.
    Otherwise faults of files and headers raise one `DataError` before any image is opened; unreadable images one at the
    end.
    """
    raw, path = paths.raw(dataset), paths.preprocessed(dataset) / FINGERPRINT_JSON
    if verify:
        verify_all(paths, dataset, num_processes=num_processes)
    else:
        for warning in verify_dataset_integrity(raw):
            logger.warning("%s: %s", dataset, warning.message)
    cases, labels = training_cases(raw), load_organ_labels(raw)
    splits = _prepare_splits(paths, dataset)
    for remark in split_remarks(splits, cases, source=paths.preprocessed(dataset) / SPLITS_JSON):
        logger.warning("%s: %s", dataset, remark)
    if path.exists() and not clean:
        fingerprint = load_fingerprint(path)
        if _is_current(fingerprint, cases, labels):
            _refuse_leaks(fingerprint, splits, dataset)
            logger.info("%s: kept %s (--clean extracts it anew)", dataset, path)
            return fingerprint
    with progress_bar(f"{dataset}: fingerprint") as progress:
        fingerprint = extraction.extract_fingerprint(
            raw, load_description(raw), num_processes=num_processes, progress=progress
        )
    save_fingerprint(path, fingerprint)
    _refuse_leaks(fingerprint, splits, dataset)
    counts = ", ".join(f"{number} {label}" for label, number in fingerprint.label_counts.items())
    logger.info("%s: %d scans, organs: %s: %s", dataset, len(cases), counts, path)
    return fingerprint


def _refuse_leaks(fingerprint: Fingerprint, splits: Sequence[Split], dataset: str) -> None:
    """Warn of scans that are there twice; `DataError` (SPLIT-LEAK) where a fold trains and validates on one."""
    errors, warnings = leaks(fingerprint.scan_hashes, {}, splits)
    for code, message in warnings:
        logger.warning("%s: [NNA-%s] %s", dataset, code, message)
    if errors:
        faults = one_a_line([message for _, message in errors])
        raise DataError("SPLIT-LEAK", f"{dataset}: {len(errors)} scans lie on both sides of a fold.{faults}")


def verify_all(paths: Paths, dataset: str, *, num_processes: int) -> None:
    """Check every voxel, write the report and the table of masks; `DataError` (VERIFY) if there is any error."""
    splits = _known_splits(paths, dataset)
    with progress_bar(f"{dataset}: verifying") as progress:
        found = verify_dataset(paths.raw(dataset), num_processes=num_processes, splits=splits, progress=progress)
    report_verification(found, paths.raw(dataset), paths.preprocessed(dataset))


def plan_experiment(paths: Paths, dataset: str, *, preset: str, gpu_memory_target_gb: float) -> Plans:
    """Write the plans of a preset, the folds, and what else belongs beside them."""
    raw, folder = paths.raw(dataset), paths.preprocessed(dataset)
    description = load_description(raw)
    if not (folder / FINGERPRINT_JSON).exists():
        raise ConfigurationError(
            "CFG-FINGERPRINT",
            f"{folder / FINGERPRINT_JSON} does not exist. "
            f"Run {command_line('nnanomaly_extract_fingerprint', '-d', dataset)}",
        )
    plans = planner.plan(
        load_fingerprint(folder / FINGERPRINT_JSON),
        gpu_memory_target_gb=gpu_memory_target_gb,
        preset=preset,
        dataset_name=dataset,
        organs=description.organs,
    )
    _prepare_splits(paths, dataset)
    _copy(raw / DATASET_JSON, folder / DATASET_JSON)
    for path in sorted((raw / LABELS_TR).glob(f"*{description.file_ending}")):
        _copy(path, folder / GT_SEGMENTATIONS / path.name)
    path = paths.plans(dataset, plans.plans_name)
    _keep_other_plans(path, plans)
    save_plans(path, plans)
    logger.info("%s: %s", dataset, summary(plans))
    logger.info("%s: every number has its reason in %s", dataset, path)
    return plans


def preprocess(paths: Paths, dataset: str, *, plans_name: str, num_processes: int) -> int:
    """Cut the patches that the plans ask for; returns the number of organs that failed, each with a line in the log.

    `DataError` if there is no patch in the end.
    """
    path = paths.plans(dataset, plans_name)
    if not path.exists():
        remedy = command_line("nnanomaly_plan_and_preprocess", "-d", dataset)
        raise ConfigurationError("CFG-PLANS", f"{path} does not exist. Run {remedy}")
    plans, raw = load_plans(path), paths.raw(dataset)
    out_dir = paths.patches(dataset, plans.data_identifier)
    with progress_bar(f"{dataset}: preprocessing") as progress:
        report = preprocess_dataset(
            raw,
            load_description(raw),
            plans.preprocessing,
            out_dir=out_dir,
            num_processes=num_processes,
            progress=progress,
        )
    write_label_snapshot(paths.preprocessed(dataset), load_organ_labels(raw), groups=patient_groups(raw))
    _log_report(dataset, report, out_dir)
    return len(report.failures)


def _prepare_splits(paths: Paths, dataset: str) -> list[Split]:
    raw = paths.raw(dataset)
    return prepare_splits(
        raw,
        paths.preprocessed(dataset),
        cases=training_cases(raw),
        groups=patient_groups(raw),
        strata=cases_with_lesions(load_organ_labels(raw)),
    )


def _known_splits(paths: Paths, dataset: str) -> list[Split]:
    """The folds that planning would take; none where they are at fault, which the check itself says."""
    raw = paths.raw(dataset)
    try:
        groups, strata = patient_groups(raw), cases_with_lesions(load_organ_labels(raw))
        return find_splits(raw, paths.preprocessed(dataset), cases=training_cases(raw), groups=groups, strata=strata)[0]
    except UserError:
        return []


def _is_current(fingerprint: Fingerprint, cases: list[str], labels: OrganLabels) -> bool:
    """Whether a fingerprint is of this version, of the cases that the dataset has now, and with their weak labels."""
    same = all(labels.get((organ.case, organ.organ), UNLABELLED) == organ.label for organ in fingerprint.organs)
    return same and sorted(fingerprint.scan_hashes) == sorted(cases) and fingerprint.schema_version == SCHEMA_VERSION


def _keep_other_plans(path: Path, plans: Plans) -> None:
    """Copy a plans file that somebody edited, or a command chose values for, before it is planned anew."""
    if path.is_file() and not _is_file_of(path, plans):
        kept = path.with_name(f"{path.name}.bak")
        _copy(path, kept)
        logger.warning("%s held other values than are planned now; they are kept in %s", path, kept)


def _is_file_of(path: Path, plans: Plans) -> bool:
    try:
        return load_plans(path) == plans
    except UserError:  # of another version, or damaged by hand
        return False


def _copy(source: Path, target: Path) -> None:
    """Copy a file unopened and atomically, unless a copy of it is there."""
    new = source.stat()
    if target.exists():
        old = target.stat()
        if (old.st_size, old.st_mtime_ns) == (new.st_size, new.st_mtime_ns):
            return
    write_atomically(target, lambda temporary: shutil.copy2(source, temporary))


def summary(plans: Plans) -> str:
    """What a user wants to see of the plans at a glance, a line for the patches and one for each stage."""
    preprocessing, stages = plans.preprocessing, {stage: plans.training_of(stage) for stage in STAGES}
    z, y, x = (f"{extent:g}" for extent in preprocessing.patch_mm)
    latent = " x ".join(map(str, plans.latent_shape))
    sizes = {
        "vqgan": f"{plans.vqgan.num_codes} codes, latent {latent} x {plans.vqgan.latent_channels}, "
        f"widths {plans.vqgan.widths}",
        "classifier": f"widths {plans.classifier.widths}",
        "ddpm": f"{plans.ddpm.architecture}, widths {plans.ddpm.widths}",
    }
    length = plans.reasons.get("classifier.training.num_iterations", "")
    lines = [f"patches of {x} x {y} x {z} mm (x, y, z) at {preprocessing.spacing_mm[0]:g} mm"]
    for stage, training in stages.items():
        batch = f"batch {training.batch_size}" + (f" x {training.accumulation}" if training.accumulation > 1 else "")
        why = f" ({length})" if stage == "classifier" and length else ""
        lines.append(f"{stage}: {sizes[stage]}, {batch}, {training.num_iterations} iterations{why}")
    return "\n  ".join(lines)


def _log_report(dataset: str, report: PreprocessingReport, out_dir: Path) -> None:
    counts = (
        f"{len(report.stored)} organs stored, {len(report.skipped)} kept from before, {len(report.excluded)} excluded"
    )
    logger.info("%s: %s, %d absent: %s", dataset, counts, len(report.absent), out_dir)
    for failure in report.failures[:MOST_FAILURES_SHOWN]:
        logger.error("%s: %s %s: %s", dataset, failure.case, failure.organ, failure.reason)
    if len(report.failures) > MOST_FAILURES_SHOWN:
        logger.error("%s: and %d more", dataset, len(report.failures) - MOST_FAILURES_SHOWN)
    if not report.stored and not report.skipped:
        raise DataError(
            "PP-NOTHING", f"{dataset}: no organ could be preprocessed ({len(report.failures)} failed, see above)"
        )

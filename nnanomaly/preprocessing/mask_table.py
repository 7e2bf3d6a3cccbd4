"""The table of organ masks: facts and suspicions of every mask of a folder, for a person to look through."""

import logging
from collections.abc import Sequence
from pathlib import Path

from nnanomaly.dataset.organ_mask_files import find_organ_mask
from nnanomaly.dataset.raw_dataset import DatasetDescription, image_files
from nnanomaly.paths import ORGAN_MASKS_CSV
from nnanomaly.preprocessing.preprocessor import read_organ_mask
from nnanomaly.roi.mask_quality import MaskQuality, measure_mask, suspicions
from nnanomaly.utilities.case_faults import case_fault, record
from nnanomaly.utilities.csv_table import write_table
from nnanomaly.utilities.errors import UserError

logger = logging.getLogger(__name__)
COLUMNS = {
    "case": "Case id.",
    "organ": "Organ name.",
    "volume_ml": "Volume of the whole mask.",
    "fragments": "Number of 26-connected pieces.",
    "largest_fraction": "Share of the largest piece.",
    "stray_mm": "Distance of the farthest piece that is not the organ from the box around the organ; 0 = all are near.",
    "touches_border": "Sides of the scan that cut the organ, separated by spaces.",
    "off_centre_mm": "How far towards the patient's left of the middle of the scan the organ lies.",
    "suspicions": "Codes and reasons of what is suspicious, separated by semicolons; suspicious masks come first.",
}
"""Columns and what they hold, for the table and for its reference page."""


def measure_case(
    images_folder: Path, mask_root: Path, case: str, *, description: DatasetDescription
) -> tuple[list[MaskQuality], list[UserError]]:
    """Facts of the masks that a case has, and the faults of those that cannot be used."""
    measured, faults = [], []
    for organ in description.organs:
        try:
            if find_organ_mask(mask_root, case, organ, description=description) is not None:
                image = image_files(images_folder, case, description)[0]
                mask, _ = read_organ_mask(mask_root, case, organ, image=image, description=description)
                measured.append(measure_mask(mask, case=case, organ=organ))
        except (UserError, OSError) as error:
            faults.append(case_fault(error).error)
    return measured, faults


def report_masks(
    images_folder: Path, mask_root: Path, cases: Sequence[str], *, description: DatasetDescription
) -> Path:
    """Measure all masks of a folder, write the table into it, log what is suspicious; returns the table's path."""
    masks: list[MaskQuality] = []
    for case in cases:
        try:
            measured, faults = measure_case(images_folder, mask_root, case, description=description)
        except Exception as error:  # noqa: BLE001 (the boundary around one case)
            unforeseen = case_fault(error)
            record(case, unforeseen.reason, unforeseen.traceback)
            continue
        masks += measured
        for fault in faults:
            logger.warning("%s", fault)
    for (case, organ), odd in suspicions(masks).items():
        logger.warning("%s %s: %s", case, organ, "; ".join(f"[NNA-{code}] {text}" for code, text in odd))
    write_mask_table(mask_root / ORGAN_MASKS_CSV, masks)
    return mask_root / ORGAN_MASKS_CSV


def write_mask_table(path: Path, masks: Sequence[MaskQuality]) -> None:
    """Write the table as CSV, suspicious masks first."""
    odd = suspicions(masks)
    rows = [
        (
            mask.case,
            mask.organ,
            f"{mask.volume_ml:.2f}",
            mask.num_fragments,
            f"{mask.largest_fraction:.3f}",
            f"{mask.stray_mm:.1f}",
            " ".join(mask.touches_border),
            f"{mask.off_centre_mm:.1f}",
            "; ".join(f"{code}: {text}" for code, text in odd.get((mask.case, mask.organ), [])),
        )
        for mask in sorted(masks, key=lambda mask: ((mask.case, mask.organ) not in odd, mask.case, mask.organ))
    ]
    write_table(path, COLUMNS, rows)

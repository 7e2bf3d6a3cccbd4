"""Organ masks for a folder of scans by TotalSegmentator: what is missing is made, what is there is kept.

A case is a run of its own, into a temporary folder. Its masks are checked against the grid of the scan and stored
under their final names only then, as `{case}/{organ}.nii.gz`. A case that fails costs only itself.
"""

import logging
import tempfile
from dataclasses import dataclass
from pathlib import Path

from nnanomaly import __version__
from nnanomaly.dataset.organ_mask_files import find_organ_mask
from nnanomaly.dataset.raw_dataset import DatasetDescription, image_files
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.paths import SEGMENTATION_JSON
from nnanomaly.roi.organ_masks import load_organ_mask
from nnanomaly.roi.totalsegmentator import MODEL, TotalSegmentator, command_line, segment
from nnanomaly.utilities.case_faults import case_fault, record
from nnanomaly.utilities.case_runner import Progress
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.utilities.files import refuse_existing, refuse_link
from nnanomaly.utilities.json_io import write_json

MASK_ENDING = ".nii.gz"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationReport:
    """What became of the cases."""

    segmented: tuple[str, ...]
    """Cases that TotalSegmentator ran on."""
    kept: tuple[str, ...]
    """Cases that had all masks already."""
    failures: dict[str, str]
    """Reason of every case that failed."""


def segment_folder(
    images_folder: Path,
    mask_root: Path,
    cases: list[str],
    *,
    description: DatasetDescription,
    installed: TotalSegmentator,
    device: str | None = None,
    progress: Progress | None = None,
) -> SegmentationReport:
    """Make the organ masks that the cases lack.

    What the machine lacks and a wrong device end the run, all else only its case.
    """
    segmented: list[str] = []
    kept: list[str] = []
    failures: dict[str, str] = {}
    for number, case in enumerate(cases, start=1):
        try:
            missing = [
                o for o in description.organs if not find_organ_mask(mask_root, case, o, description=description)
            ]
            if missing:
                image = image_files(images_folder, case, description)[0]
                _segment_case(image, mask_root / case, missing, installed=installed, device=device)
            (segmented if missing else kept).append(case)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 (the boundary around one case)
            fault = case_fault(error)
            record(case, fault.reason, fault.traceback)
            failures[case] = fault.reason
            logger.error("%s failed: %s", case, fault.reason)
        if progress is not None:
            progress(number, len(cases))
    return SegmentationReport(segmented=tuple(segmented), kept=tuple(kept), failures=failures)


def _segment_case(
    image: Path, target: Path, organs: list[str], *, installed: TotalSegmentator, device: str | None
) -> None:
    """Run, check all organs, store them; what is there already stays. Raises IO-TAKEN, IO-LINK and what it meets."""
    refuse_link(target.parent, target.name)
    grid = reader_writer_for(image).read_grid(image)
    with tempfile.TemporaryDirectory(prefix="nnanomaly-masks-") as folder:
        labels = Path(folder) / f"labels{MASK_ENDING}"
        segment(installed, image, labels, device=device)
        table = reader_writer_for(labels).read_label_table(labels)
        unknown = [organ for organ in organs if organ not in table]
        if unknown:
            raise DataError(
                "ROI-TABLE",
                f"the label map of {image} names no {', '.join(unknown)} (it names {len(table)} structures). "
                "Is this another version of TotalSegmentator?",
            )
        masks = {organ: load_organ_mask(labels, table[organ], grid=grid, image=image) for organ in organs}
    for organ, mask in masks.items():
        path = target / f"{organ}{MASK_ENDING}"
        refuse_existing(path, image)  # somebody may have put a mask there while the program ran
        reader_writer_for(path).write_like(path, mask.array[0], image)
    write_json(target / SEGMENTATION_JSON, _provenance(image, organs, installed, device))


def _provenance(image: Path, organs: list[str], installed: TotalSegmentator, device: str | None) -> dict[str, object]:
    """What made the masks; the versions of programs and models have had faults of their own."""
    command = command_line(Path(installed.program.name), Path(image.name), Path("labels.nii.gz"), device=device)
    return {"nnanomaly_version": __version__, "command": command, "model": MODEL, "organs": organs}

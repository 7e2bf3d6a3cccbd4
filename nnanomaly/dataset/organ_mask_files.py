"""Where the mask of an organ lies, in the three layouts that people and programs leave.

1. `{case}/{organ}.nii.gz`: a folder of structures per case, as TotalSegmentator writes it.
2. `{case}.nii.gz`: one map of all organs with its table of values, which stands in `dataset.json`
   ("organ_mask_labels") or in the header of the file, where `TotalSegmentator --ml` puts it.
3. `{case}_{organ}.nii.gz`; also `{case}_left.nii.gz` and `{case}_right.nii.gz`, where an organ is the only one of its
   side.

The first that is there counts, for each organ by itself. Nothing else in the package looks for masks.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.dataset.totalsegmentator_structures import refuse_contradiction, value_in_table
from nnanomaly.imageio.reader_writer import READER_WRITERS, reader_writer_for
from nnanomaly.utilities.errors import DataError

SIDES = ("left", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganMaskFile:
    """Where the mask of one organ lies."""

    path: Path
    """The mask, or the label map of all organs."""
    label: int | None = None
    """Value of the organ in a map of all organs; None: every voxel that is not 0 belongs to it."""


def find_organ_mask(mask_root: Path, case: str, organ: str, *, description: DatasetDescription) -> OrganMaskFile | None:
    """Where the mask of an organ lies, or None.

    A map of all organs whose table is missing or does not name the organ raises `DataError` (ROI-TABLE), unless the
    organ has a file of its own, and so do two tables that contradict each other; a map that cannot be opened raises
    what its reader raises.
    """
    own = _first(mask_root / case, (organ,), description)
    if own is not None:
        return OrganMaskFile(path=own)
    shared = _first(mask_root, (case,), description)
    if shared is not None and description.organ_mask_labels is not None:
        value = description.organ_mask_labels[organ]
        refuse_contradiction(_table(shared), organ, value, shared)
        return OrganMaskFile(path=shared, label=value)
    single = _first(mask_root, _flat_names(case, organ, description.organs), description)
    if single is not None:
        return OrganMaskFile(path=single)
    return None if shared is None else OrganMaskFile(path=shared, label=value_in_table(_table(shared), organ, shared))


def require_organ_mask(mask_root: Path, case: str, organ: str, *, description: DatasetDescription) -> OrganMaskFile:
    """`find_organ_mask`, but an organ without a mask raises `DataError` (ROI-MISSING).

    (A mask of zeros is no error: the organ is absent.)
    """
    found = find_organ_mask(mask_root, case, organ, description=description)
    if found is None:
        raise DataError(
            "ROI-MISSING",
            f"{case}: no mask of {organ} in {mask_root}. Provide {mask_root.name}/{case}/{organ}.nii.gz, "
            "or let nnanomaly_segment_organs make it with TotalSegmentator.",
        )
    return found


def side_of(organ: str) -> str | None:
    """ "left" or "right" for an organ whose name ends with its side, else None."""
    side = organ.rpartition("_")[2]
    return side if side in SIDES else None


def _flat_names(case: str, organ: str, organs: tuple[str, ...]) -> Iterator[str]:
    yield f"{case}_{organ}"
    side = side_of(organ)
    if side is not None and [side_of(other) for other in organs].count(side) == 1:
        yield f"{case}_{side}"


def _first(folder: Path, stems: Iterator[str] | tuple[str, ...], description: DatasetDescription) -> Path | None:
    endings = tuple(dict.fromkeys((description.file_ending, *READER_WRITERS)))
    paths = (folder / f"{stem}{ending}" for stem in stems for ending in endings)
    return next((path for path in paths if os.path.lexists(path)), None)  # a link to nothing is a fault, not a gap


def _table(path: Path) -> dict[str, int]:
    return reader_writer_for(path).read_label_table(path)

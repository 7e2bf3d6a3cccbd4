"""The structures that TotalSegmentator's task "total" names, and which value of a label map is which of them.

Versions 1 and 2 give most structures other values (7 is the aorta in one, the pancreas in the other), so that a value
is never read without the table of its file or of `dataset.json`, and never where the two say different things. Names
are the same in both, but for those that only one of them has.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path

from nnanomaly.utilities.errors import ConfigurationError, DataError

_SINGLE = (
    "spleen gallbladder liver stomach pancreas esophagus trachea thyroid_gland small_bowel duodenum colon "
    "urinary_bladder prostate sacrum heart aorta pulmonary_vein brachiocephalic_trunk superior_vena_cava "
    "inferior_vena_cava portal_vein_and_splenic_vein spinal_cord brain skull sternum costal_cartilages "
    "atrial_appendage_left lung_middle_lobe_right"
)
_PAIRED = (
    "kidney kidney_cyst adrenal_gland lung_upper_lobe lung_lower_lobe subclavian_artery common_carotid_artery "
    "brachiocephalic_vein iliac_artery iliac_vena humerus scapula clavicula femur hip gluteus_maximus gluteus_medius "
    "gluteus_minimus autochthon iliopsoas"
)
_VERTEBRAE = (("C", 7), ("T", 12), ("L", 5), ("S", 1))
_NUM_RIBS = 12

STRUCTURES = frozenset(
    [
        *_SINGLE.split(),
        *(f"{name}_{side}" for name in _PAIRED.split() for side in ("left", "right")),
        *(f"vertebrae_{part}{number}" for part, count in _VERTEBRAE for number in range(1, count + 1)),
        *(f"rib_{side}_{number}" for side in ("left", "right") for number in range(1, _NUM_RIBS + 1)),
    ]
)
"""All 117 of them (version 2)."""
HEART_PARTS = (
    "heart_myocardium",
    "heart_atrium_left",
    "heart_ventricle_left",
    "heart_atrium_right",
    "heart_ventricle_right",
)
ONLY_IN_VERSION_1 = frozenset([*HEART_PARTS, "pulmonary_artery", "face"])


def check_structures(organs: tuple[str, ...]) -> None:
    """Refuse a name that TotalSegmentator does not know: `ConfigurationError` (CFG-ORGANS) with the nearest names."""
    for organ in organs:
        if organ not in STRUCTURES:
            sides = sorted(name for name in STRUCTURES if name.startswith(f"{organ}_"))
            near = sides or difflib.get_close_matches(organ, sorted(STRUCTURES)) or sorted(STRUCTURES)
            raise ConfigurationError(
                "CFG-ORGANS",
                f"TotalSegmentator has no structure {organ!r}. Nearest: {', '.join(near)}. Correct the organ in "
                "dataset.json, or provide its masks yourself.",
            )


def value_in_table(table: Mapping[str, int], organ: str, path: Path) -> int:
    """The value of an organ by the table in the header of `path`; `DataError` (ROI-TABLE) without one."""
    if organ in table:
        return table[organ]
    raise DataError(
        "ROI-TABLE",
        f"{path} {_without(table, organ)}; the value of {organ} is not known. "
        f'Write "organ_mask_labels": {{"{organ}": value}} into dataset.json, or segment the scan anew.',
    )


def refuse_contradiction(table: Mapping[str, int], organ: str, value: int, path: Path) -> None:
    """Raise `DataError` (ROI-TABLE) where the header of `path` gives an organ another value than dataset.json does.

    An organ with a name of the user's own may have any value that the header names in its own way.
    """
    names = [name for name, named in table.items() if named == value]
    known = organ in STRUCTURES or organ in ONLY_IN_VERSION_1
    other = f"says that {organ} is {table[organ]}" if organ in table else f"says that {value} is {', '.join(names)}"
    if table.get(organ, value) != value or (known and names and organ not in names):
        raise DataError(
            "ROI-TABLE",
            f'{path} {other}, but "organ_mask_labels" in dataset.json says that {organ} is {value}. Correct '
            "organ_mask_labels, or leave it out: the table in the header is read then.",
        )


def _without(table: Mapping[str, int], organ: str) -> str:
    if not table:
        return "has no table of labels in its header"
    if len(ONLY_IN_VERSION_1 & set(table)) == len(ONLY_IN_VERSION_1):
        parts = f", but its parts ({', '.join(HEART_PARTS)})" if organ == "heart" else ""
        return f"has the table of version 1 of TotalSegmentator, which knows no {organ}{parts}"
    near = difflib.get_close_matches(organ, sorted(table)) or sorted(table)
    return f"names {len(table)} structures in its header, none of them {organ}; nearest: {', '.join(near[:5])}"

"""The structures that TotalSegmentator's task "total" names, and the check of a name that a user wrote."""

import difflib

from nnanomaly.utilities.errors import ConfigurationError

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

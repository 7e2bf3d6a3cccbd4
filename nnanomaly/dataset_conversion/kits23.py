"""The layout of KiTS23: a folder per case with `imaging.nii.gz` and `segmentation.nii.gz`.

Its files lie in the axis order inferior, posterior, left; only their affines are trusted. Kidney 1, tumor 2, cyst 3.
Every case has a lesion, so that weak labels are per kidney or useless.
"""

import logging
from pathlib import Path

from nnanomaly.dataset_conversion.labelled_cases import LabelledCase, LabelScheme
from nnanomaly.utilities.errors import DataError
from nnanomaly.utilities.matching import some_of

logger = logging.getLogger(__name__)

IMAGE, LABELS = "imaging.nii.gz", "segmentation.nii.gz"
SCHEME = LabelScheme(
    name="KiTS23",
    labels={"background": 0, "kidney": 1, "tumor": 2, "cyst": 3},
    organs=("kidney_left", "kidney_right"),
    organ_values=(1, 2, 3),
    lesions=("tumor", "cyst"),
)


def find_kits_cases(folder: Path) -> list[LabelledCase]:
    """Cases of a KiTS folder, or of its `dataset`; `DataError` (CONVERT-FOLDER) if there is none.

    A file that is missing is met later, when the case is converted.
    """
    for root in (folder, folder / "dataset"):
        folders = sorted(path for path in root.glob("case_*") if path.is_dir())
        if folders:
            others = sorted(path.parent.name for path in root.glob(f"*/{IMAGE}") if path.parent not in folders)
            if others:
                logger.warning("%s: folders that are not named case_... are left out: %s", root, some_of(others))
            return [
                LabelledCase(case=path.name, part="Tr", image=path / IMAGE, label_map=path / LABELS) for path in folders
            ]
    raise DataError("CONVERT-FOLDER", f"{folder} has no folders case_... with {IMAGE} and {LABELS}. Is it KiTS23?")

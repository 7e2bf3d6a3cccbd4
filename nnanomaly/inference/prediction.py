"""What a prediction of one case says, on the grid of its scan: the result of `Predictor.predict`."""

from dataclasses import dataclass

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio.nifti_geometry import ras_affine
from nnanomaly.inference.postprocessing import Candidate
from nnanomaly.volume import Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """The prediction of one case; arrays are `[Z, Y, X]` as SimpleITK's, their transposes `[i, j, k]` as nibabel's."""

    case: str
    """Case id."""
    mask: NDArray[np.bool_]
    """Lesions."""
    anomaly_map: NDArray[np.float32]
    """Larger where a lesion is likelier, in the unit of the plans' detector; 0 where nothing was looked at."""
    reconstruction: NDArray[np.float32]
    """The healthy reconstruction in HU; the scan itself where nothing was looked at."""
    candidates: list[Candidate]
    """Lesions with box, size and score, in descending score."""
    threshold: float | None
    """Threshold on the anomaly map; None where no organ was found."""
    status: dict[str, str]
    """Per organ: `ok`, `truncated_roi` (cut by the scan's border) or `no_roi` (empty mask: nothing is said of it)."""
    grid: Grid
    """Where the voxels lie; see `nnanomaly.volume`."""

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4 matrix from (i, j, k) to RAS mm, as nibabel's."""
        return ras_affine(self.grid)

    def as_nibabel(self, array: NDArray[np.generic]) -> nibabel.Nifti1Image:
        """One of the arrays as an image of nibabel; the mask becomes uint8, 1 = lesion."""
        values = array.astype(np.uint8) if array.dtype == np.bool_ else array
        return nibabel.Nifti1Image(values.T, self.affine)

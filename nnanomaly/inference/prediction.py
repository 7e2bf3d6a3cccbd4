"""What a prediction of one case says, on the grid of its scan: the result of `Predictor.predict`."""

from dataclasses import dataclass, field

import nibabel
import numpy as np
from numpy.typing import NDArray

from nnanomaly.imageio.nifti_geometry import ras_affine
from nnanomaly.inference.postprocessing import Candidate
from nnanomaly.roi.scan_domain import CaseWarning
from nnanomaly.volume import Grid


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
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
    warnings: list[CaseWarning] = field(default_factory=list)
    """What is unusual about the scan or its masks, beside the training scans; empty where nothing is."""
    grid: Grid
    """Where the voxels lie; see `nnanomaly.volume`."""

    def __repr__(self) -> str:
        """What was found, without the arrays."""
        found = [f"{c.organ}: {c.axial_diameter_mm:.0f} mm, score {c.score:.2f}" for c in self.candidates]
        return (
            f"Prediction(case={self.case!r}, status={self.status}, {len(found)} candidates [{'; '.join(found)}], "
            f"{len(self.warnings)} warnings, shape={self.grid.shape})"
        )

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4 matrix from (i, j, k) to RAS mm, as nibabel's."""
        return ras_affine(self.grid)

    def as_nibabel(self, array: NDArray[np.generic]) -> nibabel.Nifti1Image:
        """One of the arrays as an image of nibabel; the mask becomes uint8, 1 = lesion."""
        values = array.astype(np.uint8) if array.dtype == np.bool_ else array
        return nibabel.Nifti1Image(values.T, self.affine)

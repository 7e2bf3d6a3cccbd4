"""The kinds of arrays that signatures name; their axes stand in the docstrings."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
"""Voxels: HU, maps, distances."""
BoolArray = NDArray[np.bool_]
"""Masks."""
Floats = NDArray[np.float64]
"""Numbers that are summed: features, scores, coordinates."""

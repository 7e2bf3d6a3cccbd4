"""Tiny scans with drawn label maps, in the axis order of KiTS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nnanomaly.imageio.nifti import write_volume
from nnanomaly.volume import Grid, Volume

IPL = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
GRID = Grid((12, 20, 60), (5.0, 4.0, 4.0), (55.0, 0.0, -118.0), IPL)
"""Array axes towards inferior, posterior, left; its middle lies at x = 0."""
LEFT, RIGHT = (slice(2, 9), slice(5, 15), slice(38, 52)), (slice(2, 9), slice(5, 15), slice(8, 22))
LESION = (slice(4, 7), slice(5, 9), slice(10, 14))


@pytest.fixture
def write_drawn() -> Callable[..., None]:
    """`write_drawn(image, label_map, lesion=2)`: both kidneys (1), and a lesion of that value in the right one."""

    def write(image: Path, label_map: Path | None, *, lesion: int = 2, grid: Grid = GRID) -> None:
        labels = np.zeros((1, *GRID.shape), np.uint8)
        labels[(0, *LEFT)] = labels[(0, *RIGHT)] = 1
        labels[(0, *LESION)] = lesion
        hu = np.full((1, *GRID.shape), 40, np.int16)
        write_volume(image, Volume(hu, grid))
        if label_map is not None:
            write_volume(label_map, Volume(labels, GRID))

    return write

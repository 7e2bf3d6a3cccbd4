"""What an array holds, as a number that names it: the same on every machine and under every file name."""

import hashlib
import json

import numpy as np
from numpy.typing import NDArray


def voxel_hash(array: NDArray[np.generic], *keys: str) -> str:
    """SHA-256 of the shape and values of an array and of some texts; 64 hexadecimal digits.

    The order of bytes and of strides does not count, nor does the sign of a zero; the type does.
    """
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if stored.dtype.kind == "f":
        stored = stored + stored.dtype.type(0)  # -0 becomes 0
    digest = hashlib.sha256(json.dumps([stored.dtype.str, list(stored.shape), *keys]).encode())
    digest.update(np.ascontiguousarray(stored, dtype=stored.dtype.newbyteorder("<")).data)
    return digest.hexdigest()

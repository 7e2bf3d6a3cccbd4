"""How much memory this machine has left."""

import math
import os
from pathlib import Path


def available_memory_bytes() -> float:
    """Memory that can be used without swapping; the whole memory, or infinity, where the system does not tell."""
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (OSError, ValueError, AttributeError):
        return math.inf

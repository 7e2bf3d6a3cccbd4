"""Which device a command computes on."""

import torch

from nnanomaly.utilities.errors import ConfigurationError


def choose_device(name: str | None) -> torch.device:
    """The named device, or by default cuda where there is one and else the cpu.

    Raises ConfigurationError for a device this machine lacks, naming the ones it has.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    available = ["cpu"]
    available += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    available += ["mps"] if torch.backends.mps.is_available() else []
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise ConfigurationError(
            "CFG-DEVICE", f"device {name!r} is not available here; there is {', '.join(available)}"
        )
    return torch.device(wanted)

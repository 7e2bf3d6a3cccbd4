"""Which device a command computes on, and what a user is told when its memory does not suffice."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nnanomaly.utilities.errors import ConfigurationError, EnvironmentFault
from nnanomaly.utilities.system_errors import is_memory

LOST_WORKER = "DataLoader worker"
"""How torch begins when a process that loads batches has died."""
WORKER_REMEDY = "Use fewer of them (-num_workers 1, or 0) and continue with --c; the last checkpoint is intact."


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


@contextmanager
def memory_fault(remedy: str) -> Iterator[None]:
    """Turn a lack of memory within a `with` block, or within a function it decorates, into one line.

    Raises EnvironmentFault: ENV-MEMORY, which ends with `remedy`, and ENV-WORKER where the system killed a process that
    loads batches, which it does for memory. All other errors pass.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        text = str(error).strip()
        if text.startswith(LOST_WORKER):
            raise EnvironmentFault(
                "ENV-WORKER", f"a process that loads patches was killed, most likely for memory. {WORKER_REMEDY}"
            ) from error
        if not is_memory(error):
            raise
        reason = text.splitlines()[0] if text else "no memory is left"
        raise EnvironmentFault("ENV-MEMORY", f"out of memory ({reason}). {remedy}") from error


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Context in which networks compute in `precision` (`bf16`, or `fp32` = nothing changes)."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")

"""Which checkpoint of the ddpm predicts, and the command that calibrates it.

The residuals of healthy organs, and with them the threshold, are those of one checkpoint: every checkpoint has a
calibration file of its own, and a user who lacks it is told what to type.
"""

from nnanomaly.checkpoint import BEST, FINAL, LATEST
from nnanomaly.plans import PLANS_NAMES
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.shown_text import command_line

CHECKPOINTS = (FINAL, BEST, LATEST)


def check_checkpoint(name: str) -> None:
    """Raise ConfigurationError (CFG-CHK) for a name that training never writes."""
    if name not in CHECKPOINTS:
        raise ConfigurationError("CFG-CHK", f"-chk {name} is none of {', '.join(CHECKPOINTS)}")


def calibration_command(dataset: str, fold: int | str, *, checkpoint: str, plans_name: str) -> str:
    """What calibrates a checkpoint of a fold, as a user types it."""
    which = {FINAL: (), BEST: ("--val_best",), LATEST: ("-chk", LATEST)}[checkpoint]
    plans = () if plans_name == PLANS_NAMES["default"] else ("-p", plans_name)
    return command_line("nnanomaly_train", dataset, "ddpm", fold, "--val", *which, *plans)

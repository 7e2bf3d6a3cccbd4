"""Commands that follow from the names of plans."""

from nnanomaly.plans.choices import PLANS_NAMES
from nnanomaly.utilities.shown_text import command_line


def training_command(dataset: str, stage: str, fold: int | str, *, plans_name: str) -> str:
    """What trains a stage of a fold, as a user types it; it keeps whatever is finished, and continues the rest."""
    which = () if plans_name == PLANS_NAMES["default"] else ("-p", plans_name)
    return command_line("nnanomaly_train", dataset, stage, fold, *which)

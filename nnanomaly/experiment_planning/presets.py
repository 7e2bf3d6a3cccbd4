"""The presets by name, as `-preset` knows them."""

from nnanomaly.experiment_planning.preset import Preset
from nnanomaly.experiment_planning.preset_default import DEFAULT
from nnanomaly.experiment_planning.preset_paper import PAPER

__all__ = ["DEFAULT", "PAPER", "PRESETS", "Preset"]

PRESETS = {"default": DEFAULT, "paper": PAPER}

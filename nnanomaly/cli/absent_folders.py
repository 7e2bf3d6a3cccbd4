"""What a message about a missing file leaves out: that the folder variable it lies under points nowhere."""

from pathlib import Path

from nnanomaly.paths import PREPROCESSED, RAW, RESULTS, environment_with

NNUNET_RAW = "nnUNet_raw"


def absent_folders(text: str) -> list[str]:
    """A phrase for every folder variable whose folder a message names, and which does not exist."""
    settings = environment_with({})
    variables = (RAW if settings.get(RAW) else NNUNET_RAW, PREPROCESSED, RESULTS)
    return [
        f"{variable} is {settings[variable]!r}, and there is no such folder"
        for variable in variables
        if settings.get(variable) and settings[variable] in text and not Path(settings[variable]).exists()
    ]

"""Ctrl-C and SIGTERM: one line that says what is kept, and the command that goes on."""

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import NamedTuple

from nnanomaly.utilities.shown_text import command_line


class Terminated(KeyboardInterrupt):
    """SIGTERM; it takes the way of Ctrl-C."""


class Rest(NamedTuple):
    """What an interrupted command leaves."""

    kept: str
    """What is kept, in words."""
    flag: str = ""
    """What is added to the command so that it goes on."""
    instead_of: str = ""
    """What is left out then."""


_NOTHING = Rest("nothing was changed")
_NOTHING_NEW = Rest("nothing is left of it")
_WRITTEN = Rest("files that are complete are kept")
_PREDICTS = Rest("a fold that is not calibrated anew predicts as before; what was tried is tried again")
RESTS = {
    "nnanomaly_compare": _NOTHING,
    "nnanomaly_convert_dicom": _WRITTEN,
    "nnanomaly_convert_kits": _NOTHING_NEW,
    "nnanomaly_convert_msd": _NOTHING_NEW,
    "nnanomaly_demo": Rest("every step that was finished is kept"),
    "nnanomaly_diagnose": _NOTHING,
    "nnanomaly_doctor": _NOTHING,
    "nnanomaly_evaluate": _NOTHING,
    "nnanomaly_evaluate_folder": _NOTHING,
    "nnanomaly_export_dicom": _WRITTEN,
    "nnanomaly_export_model_to_zip": _NOTHING_NEW,
    "nnanomaly_export_nndetection": _NOTHING_NEW,
    "nnanomaly_extract_fingerprint": _NOTHING,
    "nnanomaly_find_best_configuration": _PREDICTS,
    "nnanomaly_import_nndetection": _NOTHING_NEW,
    "nnanomaly_install_pretrained_model_from_zip": _NOTHING,
    "nnanomaly_label_reports": _NOTHING,
    "nnanomaly_make_dataset": _NOTHING_NEW,
    "nnanomaly_plan_and_preprocess": Rest("patches that are stored are kept"),
    "nnanomaly_plan_experiment": _NOTHING,
    "nnanomaly_plot_overlay_pngs": _WRITTEN,
    "nnanomaly_predict": Rest("cases that are complete are kept", "--continue_prediction"),
    "nnanomaly_preprocess": Rest("patches that are stored are kept"),
    "nnanomaly_report": _NOTHING,
    "nnanomaly_segment_organs": Rest("masks that are complete are kept"),
    "nnanomaly_sweep": _PREDICTS,
    "nnanomaly_train": Rest("the last checkpoint is kept", "--c", "--force"),
}
"""What every command leaves behind when it is interrupted."""


def said(program: str, words: Sequence[str]) -> str:
    """The line for whoever interrupted a command."""
    rest = RESTS[program]
    flag = [rest.flag] if rest.flag and rest.flag not in words else []
    kept = [word for word in words if word != rest.instead_of]
    return f"stopped; {rest.kept}. To go on: {command_line(program, *kept, *flag)}"


@contextlib.contextmanager
def terminated_like_interrupted() -> Iterator[None]:
    """Let SIGTERM raise `Terminated` within; in a thread that is not the main one, signals belong to somebody else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated

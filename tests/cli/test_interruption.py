import os
import signal

import pytest

from nnanomaly.cli.interruption import RESTS, Terminated, said, terminated_like_interrupted
from nnanomaly.cli.options import command_name
from nnanomaly.cli.overview import GROUPS


def test_every_command_says_what_it_leaves() -> None:
    assert sorted(RESTS) == sorted(command_name(command) for group in GROUPS.values() for command in group)


def test_the_line_holds_the_command_that_goes_on_as_it_is_typed() -> None:
    assert said("nnanomaly_predict", ["-i", "my scans", "-o", "p;rm"]) == (
        "stopped; cases that are complete are kept. "
        "To go on: nnanomaly_predict -i 'my scans' -o 'p;rm' --continue_prediction"
    )
    assert said("nnanomaly_train", ["501", "ddpm", "--c"]).endswith("To go on: nnanomaly_train 501 ddpm --c")
    # --c goes on with what --force began; the two together are refused
    assert said("nnanomaly_train", ["501", "ddpm", "--force"]).endswith("To go on: nnanomaly_train 501 ddpm --c")
    assert said("nnanomaly_sweep", ["501"]).endswith("To go on: nnanomaly_sweep 501")


def test_sigterm_takes_the_way_of_ctrl_c_within_the_block_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), terminated_like_interrupted():
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before

"""The demo typed a second time: it goes on where it stopped, and touches no folder of anything else."""

from pathlib import Path
from typing import Any

import pytest

from nnanomaly import demo
from nnanomaly.utilities.errors import ConfigurationError

NUM_STEPS = 6  # the dataset, and five commands


class Steps:
    """The steps of the demo without their work, and what they leave; the n-th is interrupted half-way."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.folder, self.done, self.stop_at = folder, list[tuple[str, ...]](), 0
        monkeypatch.setattr(demo, "write_phantom_dataset", self.write)
        monkeypatch.setattr(demo, "_command", self.command)
        monkeypatch.setattr(demo, "_shorten_training", lambda paths: self.step("shorten"))
        monkeypatch.setattr(demo, "draw_prediction", lambda *_: None)
        monkeypatch.setattr(demo, "_false_candidates", lambda *_: "0 false candidates")

    def step(self, *words: str) -> None:
        if len(self.done) + 1 == self.stop_at:
            self.stop_at = 0
            raise KeyboardInterrupt
        self.done.append(words)

    def write(self, folder: Path, **_: Any) -> None:
        (folder / "half").write_text("of a dataset")
        self.step("dataset")
        (folder / "dataset.json").write_text("whole")

    def command(self, paths: Any, name: str, *arguments: str) -> str:
        if name == "predict":
            (self.folder / "predictions").mkdir(exist_ok=True)
        self.step(name, *(["goes on"] if "--continue_prediction" in arguments else []))
        return "table"


@pytest.mark.parametrize("stop_at", range(1, NUM_STEPS + 2))
def test_an_interrupted_demo_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    folder = tmp_path / "demo"
    steps = Steps(monkeypatch, folder)
    steps.stop_at = stop_at
    with pytest.raises(KeyboardInterrupt):
        demo.run_demo(folder, seed=3)
    assert "false candidates" in demo.run_demo(folder, seed=3)
    names = [words[0] for words in steps.done]
    assert names.count("dataset") == 1
    assert names.count("shorten") == 1
    assert list((folder / "raw").iterdir()) == [folder / "raw" / demo.DATASET]
    assert (folder / "raw" / demo.DATASET / "dataset.json").is_file()
    assert (("predict", "goes on") in steps.done) == (stop_at >= 5)


def test_a_folder_of_anything_else_or_of_another_seed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "demo"
    Steps(monkeypatch, folder)
    demo.run_demo(folder, seed=3)
    with pytest.raises(ConfigurationError, match=r"CFG-OUTPUT.*a demo of seed 3\. Add -seed 3"):
        demo.run_demo(folder, seed=4)
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ConfigurationError, match="CFG-OUTPUT.*is not empty"):
        demo.run_demo(tmp_path, seed=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "mine.txt"]

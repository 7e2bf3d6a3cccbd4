"""samples/: pictures of one held-out example after the first, the last and the best validation; never more files."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from nnanomaly.training.progress_figure import sample_figure
from nnanomaly.utilities.files import write_atomically


def keep_samples(folder: Path, pictures: Mapping[str, Tensor], *, iteration: int, best: bool) -> None:
    """Write last.png; first.png too unless it is there, and best.png if this validation is the best so far.

    `pictures`: titled slices [Y, X] in [-1, 1]; a stage without pictures leaves no folder.
    """
    if not pictures:
        return
    wanted = {"last": True, "first": not (folder / "first.png").exists(), "best": best}
    figure = sample_figure(f"iteration {iteration}", pictures)
    for name in (name for name, wanted_now in wanted.items() if wanted_now):
        write_atomically(folder / f"{name}.png", lambda temporary: figure.savefig(temporary, dpi=100))

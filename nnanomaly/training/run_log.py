"""What a running training tells: log.jsonl, a text log, a progress bar, and progress.png with curves and pictures."""

import json
import logging
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from nnanomaly.training.monitor import Alarm, Monitor, MonitorSettings
from nnanomaly.utilities.json_io import write_atomically

logger = logging.getLogger("nnanomaly")
LOG_EVERY = 10  # iterations averaged into one line of log.jsonl
PLAIN_LINE_SECONDS = 30.0  # without a terminal, one plain line this often


class RunLog:
    """Collects the numbers of one run; a resumed run continues the file of the interrupted one."""

    def __init__(self, run_dir: Path, iteration: int, num_iterations: int, *, monitor: MonitorSettings) -> None:
        """`iteration`: where the run starts; later lines of an interrupted run are dropped."""
        self.run_dir = run_dir
        self.path = run_dir / "log.jsonl"
        self.num_iterations = num_iterations
        self.records = [record for record in _read_lines(self.path) if record["iteration"] <= iteration]
        self.path.write_text("".join(json.dumps(record) + "\n" for record in self.records), encoding="utf-8")
        self._monitor = Monitor(monitor)
        self._monitor.restore(self.records)
        self._pending: list[dict[str, float]] = []
        self._bar = tqdm(
            total=num_iterations,
            initial=iteration,
            disable=not sys.stderr.isatty(),
            desc=run_dir.parent.name.split("__")[-1],
        )
        self._start, self._start_iteration, self._last_line = time.monotonic(), iteration, time.monotonic()
        stamp = time.strftime("%Y_%m_%d_%H_%M_%S")
        self._handler = logging.FileHandler(run_dir / f"training_log_{stamp}.txt", encoding="utf-8")
        self._handler.setFormatter(logging.Formatter("%(asctime)s: %(message)s"))

    def __enter__(self) -> "RunLog":
        """Start writing the text log."""
        logger.addHandler(self._handler)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the bar and the text log."""
        self._bar.close()
        logger.removeHandler(self._handler)
        self._handler.close()

    def start(self, iteration: int, facts: dict[str, float]) -> None:
        """Take what is known before the first step."""
        if facts:
            self._write({"iteration": iteration, "kind": "start", **facts})

    def end(self, iteration: int) -> None:
        """Judge the run as a whole, should it have ended before its last iteration."""
        self._tell(iteration, self._monitor.end())

    def step(self, iteration: int, numbers: dict[str, float]) -> None:
        """Take the numbers of one iteration."""
        self._pending.append(numbers)
        self._bar.update()
        if len(self._pending) < LOG_EVERY and iteration < self.num_iterations:
            return
        means = {key: float(np.mean([n[key] for n in self._pending if key in n])) for key in self._pending[-1]}
        self._pending.clear()
        seconds = time.monotonic() - self._start
        rate = (iteration - self._start_iteration) / max(seconds, 1e-9)
        self._write({"iteration": iteration, "kind": "train", "iterations_per_second": rate, **means})
        self._bar.set_postfix({key: f"{value:.3g}" for key, value in list(means.items())[:3]})
        if self._bar.disable and time.monotonic() - self._last_line > PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            remaining = (self.num_iterations - iteration) / max(rate, 1e-9)
            logger.info("iteration %d/%d, %s, %.0f s left", iteration, self.num_iterations, _phrase(means), remaining)

    def validation(self, iteration: int, numbers: dict[str, float]) -> None:
        """Take the result of a validation."""
        logger.info("iteration %d/%d, validation: %s", iteration, self.num_iterations, _phrase(numbers))
        self._write({"iteration": iteration, "kind": "validation", **numbers})

    def draw(self, pictures: dict[str, Tensor]) -> None:
        """Write progress.png anew: a panel per logged number, and the pictures."""
        path = self.run_dir / "progress.png"
        write_atomically(path, lambda temporary: _figure(self.records, pictures).savefig(temporary, dpi=80))

    def _write(self, record: dict[str, Any]) -> None:
        self._append(record)
        iteration = record["iteration"]
        self._tell(iteration, self._monitor.see(record, progress=iteration / self.num_iterations))

    def _tell(self, iteration: int, alarms: list[Alarm]) -> None:
        """One line and one record for every alarm that begins or ceases."""
        for alarm in alarms:
            said = {"alarm": alarm.name, "raised": alarm.raised, "message": alarm.message}
            self._append({"iteration": iteration, "kind": "alarm", **said})
            if alarm.raised:
                logger.warning("alarm at iteration %d (%s): %s", iteration, alarm.name, alarm.message)
            else:
                logger.info("the alarm %s has cleared at iteration %d", alarm.name, iteration)

    def _append(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """Records of an earlier log; a last line that a kill cut short is left out."""
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _phrase(numbers: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())


def _figure(records: list[dict[str, Any]], pictures: dict[str, Tensor]) -> Figure:
    """Curves of every logged number (training and validation of one name share a panel) above the pictures."""
    curves = [record for record in records if record["kind"] in ("train", "validation")]
    names = sorted({key for record in curves for key in record} - {"iteration", "kind"})
    columns = 4
    curve_rows = -(-len(names) // columns)
    rows = curve_rows + -(-len(pictures) // columns)
    figure = Figure(figsize=(4 * columns, 3 * max(1, rows)), layout="constrained")
    FigureCanvasAgg(figure)
    for position, name in enumerate(names):
        axes = figure.add_subplot(rows, columns, position + 1)
        for kind in ("train", "validation"):
            points = [(r["iteration"], r[name]) for r in curves if r["kind"] == kind and name in r]
            if points:
                axes.plot(*zip(*points, strict=True), label=kind)
        axes.set_title(name)
        axes.set_xlabel("iteration")
        axes.legend()
    for position, (title, picture) in enumerate(pictures.items()):
        axes = figure.add_subplot(rows, columns, curve_rows * columns + position + 1)
        axes.imshow(picture.float().cpu().numpy(), cmap="gray", vmin=-1, vmax=1, origin="upper")
        axes.set_title(title)
        axes.set_axis_off()
    return figure

"""What a running training tells: log.jsonl, a text log, a bar or plain lines, progress.png, samples, and a tracker."""

import json
import logging
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from nnanomaly.paths import SAMPLES
from nnanomaly.training.monitor import Alarm, Monitor, MonitorSettings
from nnanomaly.training.progress_figure import as_grey, progress_figure
from nnanomaly.training.samples import keep_samples
from nnanomaly.training.trackers import Tracker, Tracking
from nnanomaly.utilities.files import write_atomically, write_text
from nnanomaly.utilities.json_io import MAX_INTEGER
from nnanomaly.utilities.progress import PLAIN_LINE_SECONDS, in_words

logger = logging.getLogger("nnanomaly")
LOG_EVERY = 10  # iterations averaged into one line of log.jsonl


class RunLog:
    """Collects the numbers of one run; a resumed run continues the file of the interrupted one."""

    def __init__(
        self,
        run_dir: Path,
        iteration: int,
        num_iterations: int,
        *,
        monitor: MonitorSettings,
        tracker: Tracker | None = None,
    ) -> None:
        """`iteration`: where the run starts; later lines of an interrupted run are dropped."""
        self.run_dir = run_dir
        self.path = run_dir / "log.jsonl"
        self.num_iterations = num_iterations
        self.records = [record for record in _read_lines(self.path) if record["iteration"] <= iteration]
        write_text(self.path, "".join(json.dumps(record) + "\n" for record in self.records))
        self._monitor = Monitor(monitor)
        self._monitor.restore(self.records)
        self._tracking = Tracking(tracker)
        self._pending: list[dict[str, float]] = []
        self._since_validation: list[float] = []
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
        self._tracking.start(self._start_iteration)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the bar, the text log and the tracker."""
        self._bar.close()
        self._tracking.end()
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
        if "loss" in numbers:
            self._since_validation.append(numbers["loss"])
        self._bar.update()
        if len(self._pending) < LOG_EVERY and iteration < self.num_iterations:
            return
        means = {key: float(np.mean([n[key] for n in self._pending if key in n])) for key in self._pending[-1]}
        self._pending.clear()
        rate = self._rate(iteration)
        self._write({"iteration": iteration, "kind": "train", "iterations_per_second": rate, **means})
        self._bar.set_postfix({key: f"{value:.3g}" for key, value in list(means.items())[:3]})
        if self._bar.disable and time.monotonic() - self._last_line > PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            logger.info("%s, %s, %s left", self._place(iteration), _phrase(means), self._time_left(iteration))

    def validation(self, iteration: int, numbers: dict[str, float]) -> None:
        """Take the result of a validation, and say in one line what has happened since the last one."""
        parts = [self._place(iteration)]
        if self._since_validation:
            parts.append(f"mean training loss {np.mean(self._since_validation):.4g}")
        self._since_validation.clear()
        pace = f"{self._rate(iteration):.3g} iterations/s, {self._time_left(iteration)} left"
        logger.info("%s", "; ".join([*parts, f"validation: {_phrase(numbers)}", pace]))
        self._write({"iteration": iteration, "kind": "validation", **numbers})

    def draw(self, iteration: int, pictures: dict[str, Tensor], *, best: bool) -> None:
        """Write progress.png and the samples anew; `best`: whether the last validation is the best so far."""
        path = self.run_dir / "progress.png"
        write_atomically(path, lambda temporary: progress_figure(self.records, pictures).savefig(temporary, dpi=80))
        keep_samples(self.run_dir / SAMPLES, pictures, iteration=iteration, best=best)
        for title, picture in pictures.items():
            self._tracking.picture(iteration, title, as_grey(title, picture))

    def _rate(self, iteration: int) -> float:
        """Iterations per second since the run started or went on."""
        return (iteration - self._start_iteration) / max(time.monotonic() - self._start, 1e-9)

    def _place(self, iteration: int) -> str:
        return f"iteration {iteration}/{self.num_iterations} ({iteration / self.num_iterations:.0%})"

    def _time_left(self, iteration: int) -> str:
        return in_words((self.num_iterations - iteration) / max(self._rate(iteration), 1e-9))

    def _write(self, record: dict[str, Any]) -> None:
        self._append(record)
        iteration, kind = record["iteration"], record["kind"]
        numbers = {f"{kind}/{name}": value for name, value in record.items() if name not in ("iteration", "kind")}
        self._tracking.log(iteration, numbers)
        self._tell(iteration, self._monitor.see(record, progress=iteration / self.num_iterations))

    def _tell(self, iteration: int, alarms: list[Alarm]) -> None:
        """One line and one record for every alarm that begins or ceases."""
        for alarm in alarms:
            said = {"alarm": alarm.name, "raised": alarm.raised, "message": alarm.message}
            self._append({"iteration": iteration, "kind": "alarm", **said})
            self._tracking.log(iteration, {f"alarm/{alarm.name}": float(alarm.raised)})
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
    records: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_record(record):
            logger.warning("%s: line %d is none of a training's; it and all below are left out", path, len(records) + 1)
            break
        records.append(record)
    return records


def _is_record(record: Any) -> bool:
    """Whether a line holds what `_write` and `_tell` write: numbers, or an alarm with its words."""
    if not isinstance(record, dict) or type(record.get("iteration")) is not int:
        return False
    if record.get("kind") == "alarm":
        words = isinstance(record.get("alarm"), str) and isinstance(record.get("message"), str)
        return words and isinstance(record.get("raised"), bool)
    numbers = (value for name, value in record.items() if name != "kind")
    return isinstance(record.get("kind"), str) and all(
        type(value) is float or (type(value) is int and abs(value) < MAX_INTEGER) for value in numbers
    )


def _phrase(numbers: dict[str, float]) -> str:
    return ", ".join(f"{key} {value:.4g}" for key, value in numbers.items())

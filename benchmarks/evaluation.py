"""Seconds and memory of `match_case` beside scipy's labelling, picai_eval and panoptica, each in its own process.

Two uint8 masks of 600 x 512 x 512 voxels with 10 lesions; the predictions are these lesions shifted, and further
candidates spread over the whole scan. Time is processor time, which a busy machine lengthens less than wall time, the
median of three runs after a first one (one run for picai_eval, which takes minutes); memory is the growth of the peak
over the process that already holds both masks, per voxel.

    python benchmarks/evaluation.py                       # what is importable here
    python benchmarks/evaluation.py --python panoptica=/other/venv/bin/python
"""

import argparse
import json
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHAPE = (600, 512, 512)
SPACING_MM = (1.0, 0.8, 0.8)
CELL = (25, 32, 32)
SHIFT = 3
COUNTS = (50, 4000)
SLOW = ("picai_eval",)
UNSUITABLE = {("picai_eval", 4000): "one pass of the volume per pair: hours"}


def draw_masks(num_candidates: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Reference of 10 balls, and prediction: the balls shifted along the slices, and small balls elsewhere."""
    rng = np.random.default_rng(seed)
    reference = np.zeros(SHAPE, dtype=np.uint8)
    corners = [(z, y, x) for z in (100, 300, 500) for y in (128, 384) for x in (128, 384)][:10]
    for center in corners:
        add_ball(reference, center, int(rng.integers(5, 40)))
    prediction = np.roll(reference, SHIFT, axis=0)
    cells = np.argwhere(~occupied_cells(reference | prediction))
    for cell in rng.choice(cells, num_candidates - len(corners), replace=False):
        add_ball(prediction, tuple((cell * CELL + np.array(CELL) // 2).tolist()), int(rng.integers(3, 9)))
    return reference, prediction


def occupied_cells(mask: np.ndarray) -> np.ndarray:
    """Cells of the volume with a voxel of the mask."""
    shape = [number for size, cell in zip(SHAPE, CELL, strict=True) for number in (size // cell, cell)]
    return np.asarray(mask.reshape(shape).any(axis=(1, 3, 5)))


def add_ball(mask: np.ndarray, center: tuple[int, ...], radius: int) -> None:
    """Set the voxels of a ball."""
    offsets = np.ogrid[tuple(slice(-radius, radius + 1) for _ in range(3))]
    ball = sum(offset**2 for offset in offsets) <= radius**2
    mask[tuple(slice(c - radius, c + radius + 1) for c in center)] |= ball


def nnanomaly_tool() -> Callable[[np.ndarray, np.ndarray], int]:
    """`match_case`, diameters and all."""
    from nnanomaly.evaluation.lesion_matching import MatchRule, match_case
    from nnanomaly.volume import Grid, Volume

    grid = Grid(SHAPE, SPACING_MM, (0.0, 0.0, 0.0))

    def match(reference: np.ndarray, prediction: np.ndarray) -> int:
        records = match_case(Volume(prediction[None], grid), Volume(reference[None], grid), MatchRule())
        return sum(record.kind == "TP" for record in records)

    return match


def scipy_tool() -> Callable[[np.ndarray, np.ndarray], int]:
    """Labelling of both masks alone: no overlap, no size, no matching."""
    from scipy import ndimage

    structure = np.ones((3, 3, 3))

    def label(reference: np.ndarray, prediction: np.ndarray) -> int:
        first, num_lesions = ndimage.label(reference, structure)
        second, _ = ndimage.label(prediction, structure)
        assert first.shape == second.shape
        return int(num_lesions)

    return label


def picai_tool() -> Callable[[np.ndarray, np.ndarray], int]:
    """One case of picai_eval, one to one, IoU 0.2."""
    from picai_eval.eval import evaluate_case

    def evaluate(reference: np.ndarray, prediction: np.ndarray) -> int:
        rows = evaluate_case(
            prediction, reference, min_overlap=0.2, allow_unmatched_candidates_with_minimal_overlap=False
        )[0]
        return sum(bool(lesion) and score > 0 for lesion, score, _ in rows)

    return evaluate


def panoptica_tool() -> Callable[[np.ndarray, np.ndarray], int]:
    """panoptica with its default matcher at IoU 0.2 and no metric but IoU and Dice."""
    from panoptica import (
        ConnectedComponentsInstanceApproximator,
        InputType,
        NaiveThresholdMatching,
        Panoptica_Evaluator,
    )
    from panoptica.metrics import Metric

    evaluator = Panoptica_Evaluator(
        expected_input=InputType.SEMANTIC,
        instance_approximator=ConnectedComponentsInstanceApproximator(),
        instance_matcher=NaiveThresholdMatching(matching_threshold=0.2),
        instance_metrics=[Metric.DSC, Metric.IOU],
        global_metrics=[],
        verbose=False,
    )

    def evaluate(reference: np.ndarray, prediction: np.ndarray) -> int:
        return int(evaluator.evaluate(prediction, reference, verbose=False)["ungrouped"].tp)

    return evaluate


TOOLS = {"nnanomaly": nnanomaly_tool, "scipy": scipy_tool, "panoptica": panoptica_tool, "picai_eval": picai_tool}


def resident_bytes() -> int:
    """Memory this process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure(tool: str, folder: Path, timeout: float) -> None:
    """Time one tool on the masks in a folder and print the result as JSON; runs in its own process."""
    resource.setrlimit(resource.RLIMIT_CPU, (int(timeout), int(timeout)))  # a busy machine does not use it up
    run = TOOLS[tool]()
    reference, prediction = (np.load(folder / f"{name}.npy") for name in ("reference", "prediction"))
    before = resident_bytes()
    seconds = []
    for _ in range(1 if tool in SLOW else 4):
        start = time.process_time()
        tp = run(reference, prediction)
        seconds.append(time.process_time() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
    timed = seconds[1:] or seconds
    result = {"seconds": float(np.median(timed)), "bytes_per_voxel": peak / reference.size, "tp": tp}
    sys.stdout.write(json.dumps(result) + "\n")


def run_tool(tool: str, interpreter: str, folder: Path, timeout: float) -> dict[str, float] | str:
    """Numbers of one tool, or why there are none."""
    command = [interpreter, str(Path(__file__).resolve()), "--tool", tool, "--folder", str(folder)]
    done = subprocess.run([*command, "--timeout", str(timeout)], capture_output=True, text=True, check=False)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return f"stopped after {timeout:.0f} s of processor time, or for want of memory"
    if done.returncode != 0:
        return done.stderr.strip().splitlines()[-1]
    numbers: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return numbers


def compare(num_candidates: int, interpreters: dict[str, str], timeout: float) -> None:
    """Run every tool on one pair of masks and print a table of ratios."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stem, mask in zip(("reference", "prediction"), draw_masks(num_candidates, seed=1), strict=True):
            np.save(folder / f"{stem}.npy", mask)
        print(f"\n10 lesions, {num_candidates} candidates, {' x '.join(map(str, SHAPE))}")
        ours: dict[str, float] | None = None
        for tool in TOOLS:
            reason = UNSUITABLE.get((tool, num_candidates))
            result = reason or run_tool(tool, interpreters.get(tool, sys.executable), folder, timeout)
            if isinstance(result, str):
                print(f"{tool:>12}: not measured ({result})")
                continue
            ours = ours or result
            times = result["seconds"] / ours["seconds"]
            memory = f"{result['bytes_per_voxel']:.2f} bytes/voxel"
            line = f"{tool:>12}: {result['seconds']:8.2f} s ({times:.1f} x ours)  {memory}  {result['tp']} matched"
            print(line, flush=True)


def main() -> None:
    """Compare, or measure one tool (internal)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--python", action="append", default=[], metavar="TOOL=INTERPRETER", help="run a tool elsewhere"
    )
    parser.add_argument("--timeout", type=float, default=1200.0, help="processor seconds of a tool")
    parser.add_argument("--tool", choices=sorted(TOOLS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tool:
        measure(arguments.tool, arguments.folder, arguments.timeout)
        return
    interpreters = dict(item.split("=", 1) for item in arguments.python)
    for num_candidates in COUNTS:
        compare(num_candidates, interpreters, arguments.timeout)


if __name__ == "__main__":
    main()

"""Resampling to 1 mm and back: our organ boxes beside nnU-Net's whole-volume default and SimpleITK, in one run.

A scan of 400 x 512 x 512 voxels (z, y, x) at 1.0 x 0.8 x 0.8 mm; two boxes of 128 x 96 x 96 mm. Every method runs
alone in a fresh process on one thread; wall and CPU seconds are medians of several calls, memory is the largest
resident size of that process, with the loaded scan (0.42 GB) and all imports. Ratios are of CPU seconds, for a shared
machine stretches wall time. The patch grids lie on nnU-Net's output voxels, so that values can be compared one by one.

nnU-Net runs beside, in an environment of its own:
`python -m venv beside && beside/bin/pip install torch nnunetv2`, then
`python benchmarks/resampling.py --nnunet-python beside/bin/python`.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHAPE, SPACING = (400, 512, 512), (1.0, 0.8, 0.8)
OUTPUT_SHAPE = (400, 410, 410)  # nnU-Net's rounding of the extent in mm
BOX = (128, 96, 96)
STARTS = ((140, 180, 70), (150, 175, 250))
MARGIN = 12
REPEATS = {"ours": 5, "nnunet_whole": 1, "nnunet_boxes": 3, "sitk_boxes": 3}

Array = NDArray[np.float32]
Boxes = list[tuple[slice, slice, slice]]
OUTPUT_BOXES: Boxes = [
    tuple(slice(s, s + n) for s, n in zip(start, BOX, strict=True))  # type: ignore[misc]
    for start in STARTS
]


def make_scan(path: Path) -> None:
    """Smooth structure of -1000 to 1500 HU and white noise of 20 HU, the hardest a scanner delivers."""
    rng = np.random.default_rng(0)
    z, y, x = (np.arange(size, dtype=np.float32) for size in SHAPE)
    scan = 250 * np.sin(z / 9)[:, None, None] * np.cos(y / 7)[:, None] * np.sin(x / 5) + 500 * np.sin(y / 60)[:, None]
    for plane in scan:
        plane += 20 * rng.standard_normal(SHAPE[1:], dtype=np.float32)
    np.save(path, scan.astype(np.float32, copy=False))


def _scan_region(box: tuple[slice, slice, slice]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """Scan voxels around a box of the output, and the output shape that keeps the ratio of both grids."""
    ratio = np.divide(SHAPE, OUTPUT_SHAPE)
    starts = [max(0, int(s.start * r) - MARGIN) for s, r in zip(box, ratio, strict=True)]
    stops = [min(n, int(s.stop * r) + MARGIN) for s, r, n in zip(box, ratio, SHAPE, strict=True)]
    shape = tuple(round((b - a) / r) for a, b, r in zip(starts, stops, ratio, strict=True))
    return tuple(slice(a, b) for a, b in zip(starts, stops, strict=True)), shape


def ours(scan: Array) -> tuple[Callable[[], list[Array]], Callable[[list[Array]], list[Array]]]:
    """This package: spline order 3 to the boxes, order 1 back."""
    from nnanomaly.preprocessing.resampling import paste_onto_grid, sample_on_grid
    from nnanomaly.volume import Grid, Volume

    grid = Grid(SHAPE, SPACING, (0.0, 0.0, 0.0))
    ratio = np.divide(SHAPE, OUTPUT_SHAPE)
    spacing = tuple((ratio * SPACING).tolist())
    patches = [
        Grid(BOX, spacing, tuple((((np.array(start) + 0.5) * ratio - 0.5) * SPACING).tolist())) for start in STARTS
    ]
    volume = Volume(scan[None], grid)

    def there() -> list[Array]:
        return [sample_on_grid(volume, patch, order=3, antialiasing=False, fill=0.0)[0][0] for patch in patches]

    def back(boxes: list[Array]) -> list[Array]:
        return [paste_onto_grid(box, patch, grid)[1] for box, patch in zip(boxes, patches, strict=True)]

    return there, back


def nnunet_whole(scan: Array) -> tuple[Callable[[], list[Array]], Callable[[list[Array]], list[Array]]]:
    """nnU-Net's default for images (order 3) and for logits (order 1), the whole volume."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape as resample

    def there() -> list[Array]:
        whole = resample(scan[None], OUTPUT_SHAPE, SPACING, (1.0, 1.0, 1.0), order=3, force_separate_z=None)[0]
        return [whole[box].copy() for box in OUTPUT_BOXES]

    def back(boxes: list[Array]) -> list[Array]:
        whole = np.zeros((1, *OUTPUT_SHAPE), np.float32)
        for box, values in zip(OUTPUT_BOXES, boxes, strict=True):
            whole[0][box] = values
        return [resample(whole, SHAPE, (1.0, 1.0, 1.0), SPACING, order=1, force_separate_z=None)[0]]

    return there, back


def nnunet_boxes(scan: Array) -> tuple[Callable[[], list[Array]], Callable[[list[Array]], list[Array]]]:
    """The same functions on the cropped regions only (their grids differ from the whole one's by rounding)."""
    from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg_to_shape as resample

    regions = [_scan_region(box) for box in OUTPUT_BOXES]

    def there() -> list[Array]:
        return [
            resample(scan[region][None], shape, SPACING, (1.0, 1.0, 1.0), order=3, force_separate_z=None)[0]
            for region, shape in regions
        ]

    def back(boxes: list[Array]) -> list[Array]:
        shapes = [np.rint(np.multiply(BOX, np.divide(SHAPE, OUTPUT_SHAPE))).astype(int) for _ in boxes]
        return [
            resample(box[None], shape, (1.0, 1.0, 1.0), SPACING, order=1, force_separate_z=None)[0]
            for box, shape in zip(boxes, shapes, strict=True)
        ]

    return there, back


def sitk_boxes(scan: Array) -> tuple[Callable[[], list[Array]], Callable[[list[Array]], list[Array]]]:
    """SimpleITK: B-spline on the cropped regions, linear back."""
    import SimpleITK as sitk  # noqa: N813

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    ratio = np.divide(SHAPE, OUTPUT_SHAPE)
    reversed_spacing = tuple((ratio * SPACING)[::-1].tolist())

    def reference(start: tuple[int, ...]) -> sitk.Image:
        image = sitk.Image([int(n) for n in BOX[::-1]], sitk.sitkFloat32)
        image.SetSpacing(reversed_spacing)
        image.SetOrigin(tuple((((np.array(start) + 0.5) * ratio - 0.5) * SPACING)[::-1].tolist()))
        return image

    def there() -> list[Array]:
        results = []
        for box, start in zip(OUTPUT_BOXES, STARTS, strict=True):
            region = _scan_region(box)[0]
            image = sitk.GetImageFromArray(scan[region])
            image.SetSpacing(SPACING[::-1])
            image.SetOrigin([float(s.start * d) for s, d in zip(region[::-1], SPACING[::-1], strict=True)])
            resampled = sitk.Resample(image, reference(start), sitk.Transform(), sitk.sitkBSpline)
            results.append(sitk.GetArrayFromImage(resampled))
        return results

    def back(boxes: list[Array]) -> list[Array]:
        results = []
        for values, start in zip(boxes, STARTS, strict=True):
            image = sitk.GetImageFromArray(values)
            image.CopyInformation(reference(start))
            first = np.ceil((np.array(start) + 0.5) * ratio - 0.5 - ratio / 2)
            target = sitk.Image([int(n) for n in np.ceil(np.array(BOX) * ratio)[::-1]], sitk.sitkFloat32)
            target.SetSpacing(SPACING[::-1])
            target.SetOrigin((first * SPACING)[::-1].tolist())
            results.append(sitk.GetArrayFromImage(sitk.Resample(image, target, sitk.Transform(), sitk.sitkLinear)))
        return results

    return there, back


METHODS = {"ours": ours, "nnunet_whole": nnunet_whole, "nnunet_boxes": nnunet_boxes, "sitk_boxes": sitk_boxes}


def _timed(work: Callable[[], list[Array]], repeats: int) -> tuple[list[Array], float, float]:
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return result, statistics.median(walls), statistics.median(cpus)


def _peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1000**3


def child(method: str, folder: Path) -> None:
    """Run one method and leave its boxes and a line of figures."""
    if method == "scan":
        make_scan(folder / "scan.npy")
        return
    there, back = METHODS[method](np.load(folder / "scan.npy"))
    loaded = _peak_gb()
    boxes, wall, cpu = _timed(there, REPEATS[method])
    figures = {"wall": wall, "cpu": cpu, "loaded_gb": loaded, "peak_gb": _peak_gb()}
    for number, box in enumerate(boxes):
        np.save(folder / f"{method}_{number}.npy", box)
    given = [np.load(folder / f"ours_{number}.npy") for number in range(len(boxes))]
    _, figures["back_wall"], figures["back_cpu"] = _timed(lambda: back(given), REPEATS[method])
    (folder / f"{method}.json").write_text(json.dumps(figures), encoding="utf-8")


def _difference(folder: Path, method: str) -> float | None:
    """Largest difference to our values in HU, where the method gives the same voxels."""
    pairs = [(np.load(folder / f"ours_{n}.npy"), np.load(folder / f"{method}_{n}.npy")) for n in range(len(STARTS))]
    if any(first.shape != second.shape for first, second in pairs):
        return None
    return max(float(np.abs(first - second).max()) for first, second in pairs)


def main() -> None:
    """Run all methods and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nnunet-python", help="interpreter of an environment with nnunetv2 (default: this one)")
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], Path(arguments.child[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(folder, "scan", sys.executable).check_returncode()  # a child starts with the memory peak of its parent
        sys.stdout.write(
            "method         to 1 mm: wall s   CPU s  peak GB (+scan)   ratio  max |HU| | back: wall s  CPU s\n"
        )
        for method in METHODS:
            python = arguments.nnunet_python or sys.executable if method.startswith("nnunet") else sys.executable
            sys.stdout.write(_row(folder, method, python) + "\n")
            sys.stdout.flush()


def _run(folder: Path, method: str, python: str) -> "subprocess.CompletedProcess[str]":
    settings = [f"{library}_NUM_THREADS=1" for library in ("OMP", "OPENBLAS", "MKL")]
    settings.append(f"PYTHONPATH={Path(__file__).resolve().parents[1]}")
    command = ["env", *settings, python, __file__, "--child", method, str(folder)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def _row(folder: Path, method: str, python: str) -> str:
    finished = _run(folder, method, python)
    if finished.returncode:
        reason = finished.stderr.strip().splitlines()[-1]
        return f"{method:14} failed: {reason} (see the first lines of this file for how to install nnunetv2 beside)"
    figures = json.loads((folder / f"{method}.json").read_text(encoding="utf-8"))
    base = json.loads((folder / "ours.json").read_text(encoding="utf-8"))
    difference = _difference(folder, method)
    return (
        f"{method:14} {figures['wall']:15.3f} {figures['cpu']:7.3f} {figures['peak_gb']:8.2f}"
        f" (+{figures['peak_gb'] - figures['loaded_gb']:.2f}) {figures['cpu'] / base['cpu']:8.1f}x"
        f" {'other grid' if difference is None else format(difference, '.4f'):>10} |"
        f" {figures['back_wall']:12.3f} {figures['back_cpu']:6.3f} {figures['back_cpu'] / base['back_cpu']:6.1f}x"
    )


if __name__ == "__main__":
    main()

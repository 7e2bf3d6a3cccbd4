"""A picture and a table of everything that a folder of predictions got wrong: missed lesions and false candidates.

Usage: `python benchmarks/error_pictures.py IMAGES REFERENCES PREDICTIONS -o FOLDER`. Every error is one axial slice
through its middle: the reference in red, the prediction in yellow. `errors.csv` lists them with size and best IoU.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nnanomaly.evaluation.lesion_labels import find_lesion_labels
from nnanomaly.evaluation.lesion_matching import LesionRecord, MatchRule, match_case
from nnanomaly.evaluation.tables import to_csv
from nnanomaly.imageio.nifti import read_labels, read_volume
from nnanomaly.utilities.files import write_text
from nnanomaly.volume import Volume

HALF_MM = 60.0
COLUMNS = 8
WINDOW_HU = (-120.0, 250.0)


def main() -> None:
    """Draw and list the errors."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("images", "references", "predictions"):
        parser.add_argument(name, type=Path)
    parser.add_argument("-o", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.o.mkdir(parents=True, exist_ok=True)
    labels = find_lesion_labels(arguments.references, arguments.predictions, dataset_json=None, reference=())
    rows, views = [], []
    for path in sorted(arguments.references.glob("*.nii.gz")):
        case = path.name.removesuffix(".nii.gz")
        image = read_volume(arguments.images / f"{case}_0000.nii.gz")
        drawn = read_labels(path).array
        reference = Volume(np.isin(drawn, labels.reference).astype(np.uint8), image.grid)
        found = Volume((read_labels(arguments.predictions / path.name).array > 0).astype(np.uint8), image.grid)
        for record in match_case(found, reference, MatchRule(), case=case):
            if record.kind in ("FN", "FP"):
                rows.append(row_of(record))
                views.append((record, slice_of(record, image, reference, found)))
    write_text(arguments.o / "errors.csv", to_csv(pd.DataFrame(rows)))
    draw(views).savefig(arguments.o / "errors.png", dpi=70)
    print(pd.DataFrame(rows).to_string())


def row_of(record: LesionRecord) -> dict[str, object]:
    """One line of the table."""
    return {
        "case": record.case,
        "kind": record.kind,
        "diameter_mm": round(record.diameter_mm, 1),
        "volume_ml": round(record.volume_mm3 / 1000, 2),
        "best_iou": round(record.iou, 3),
    }


def slice_of(record: LesionRecord, image: Volume, *masks: Volume) -> list[np.ndarray]:
    """Axial slice of the image and of the masks around the middle of an error, along the array axis nearest to z."""
    region = record.lesion or record.candidate
    assert region is not None
    middle = image.grid.to_index(np.asarray(region.center_mm)).round().astype(int)
    axis = image.grid.axis_of(0)
    window = []
    for k, (n, spacing) in enumerate(zip(image.grid.shape, image.grid.spacing_mm, strict=True)):
        half = max(1, round(HALF_MM / spacing))
        center = int(np.clip(middle[k], 0, n - 1))
        window.append(slice(center, center + 1) if k == axis else slice(max(center - half, 0), center + half))
    return [np.squeeze(volume.array[0][tuple(window)], axis=axis) for volume in (image, *masks)]


def draw(views: list[tuple[LesionRecord, list[np.ndarray]]]) -> Figure:
    """All errors, missed lesions first, the largest first."""
    ordered = sorted(views, key=lambda view: (view[0].kind != "FN", -view[0].diameter_mm))
    rows = -(-max(len(ordered), 1) // COLUMNS)
    figure = Figure(figsize=(2.2 * COLUMNS, 2.5 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (record, (image, reference, found)) in enumerate(ordered, start=1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        axes.imshow(image, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1])
        for mask, color in ((reference, "red"), (found, "yellow")):
            if mask.any() and min(mask.shape) > 1:
                axes.contour(mask, [0.5], colors=color, linewidths=0.8)
        axes.set_title(
            f"{record.kind} {record.case[-5:]}, {record.diameter_mm:.0f} mm, IoU {record.iou:.2f}", fontsize=7
        )
        axes.set_axis_off()
    return figure


if __name__ == "__main__":
    main()

"""Commands that exchange datasets, folds and predictions with nnDetection."""

import argparse
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import Arguments, run_command
from nnanomaly.paths import LABELS_TR, DetectionPaths, Paths
from nnanomaly.utilities.progress import progress_bar


def import_nndetection(argv: Arguments = None) -> int:
    """Make a raw dataset of a task of nnDetection: same images, cases and folds."""
    parser = options.new_parser(import_nndetection)
    parser.add_argument("task", help="name, number or folder of the task; the first two are looked up in det_data")
    parser.add_argument("-d", type=int, default=None, help="number of the dataset (default: that of the task)")
    parser.add_argument(
        "-models",
        nargs="+",
        type=Path,
        default=None,
        help="model folders whose folds are taken (default: all of the task in det_models)",
    )
    parser.add_argument("-organs", nargs="+", default=(), help="organs to look at; planning needs some (default: none)")
    parser.add_argument(
        "-labels",
        choices=("instances", "original"),
        default="instances",
        help="label maps to take: the instances, or the masks they came from (default %(default)s)",
    )
    options.add_processes(parser)
    return run_command(parser, argv, _import)


def _import(arguments: argparse.Namespace) -> int:
    from nnanomaly.baselines.import_nndetection import ImportOptions, import_task
    from nnanomaly.baselines.nndetection_task import find_task

    theirs = DetectionPaths.from_env()
    named = Path(arguments.task)
    task = find_task(named.parent if named.is_dir() else theirs.data(), arguments.task)
    models = arguments.models
    if models is None:
        models = sorted(theirs.models_root.glob(f"{task.name}/*")) if theirs.models_root else []
    wanted = ImportOptions(
        labels=arguments.labels, organs=tuple(arguments.organs), number=arguments.d, num_processes=arguments.np
    )
    with progress_bar("importing") as show:
        say(import_task(task, Paths.from_env().raw_folder(), model_folders=models, options=wanted, progress=show))
    return 0


def export_nndetection(argv: Arguments = None) -> int:
    """Make a task of nnDetection of a raw dataset, and boxes of mask predictions."""
    parser = options.new_parser(export_nndetection)
    parser.add_argument("dataset_name_or_id", help="dataset name or id")
    options.add_lesion_values(parser)
    parser.add_argument(
        "-min_size",
        type=float,
        default=None,
        help="drop instances up to that size in mm (default: that of the task that was imported, else 0)",
    )
    parser.add_argument(
        "-test",
        type=Path,
        default=None,
        help="folder of our predictions of the test set, to export as boxes (default: none)",
    )
    parser.add_argument(
        "-val", type=Path, default=None, help="folder of our predictions of validation cases, likewise (default: none)"
    )
    parser.add_argument(
        "-model", default="nnAnomaly_3d", help="name of the model folder in det_models (default %(default)s)"
    )
    options.add_processes(parser)
    return run_command(parser, argv, _export)


def _export(arguments: argparse.Namespace) -> int:
    from nnanomaly.baselines.export_nndetection import export_dataset, export_rule, read_raw_document, task_name
    from nnanomaly.evaluation.lesion_labels import find_lesion_labels
    from nnanomaly.evaluation.reference_set import dataset_splits

    paths, theirs = Paths.from_env(), DetectionPaths.from_env()
    dataset = paths.dataset_name(arguments.dataset_name_or_id)
    raw = paths.raw(dataset)
    document = read_raw_document(raw)
    task = theirs.data() / task_name(dataset, document)
    lesions = find_lesion_labels(raw / LABELS_TR, raw / LABELS_TR, reference=arguments.l).reference
    if not task.exists() or not (arguments.test or arguments.val):
        rule = export_rule(document, lesions, min_size_mm=arguments.min_size)
        splits, _ = dataset_splits(paths, dataset)
        with progress_bar("exporting") as show:
            export_dataset(raw, theirs.data(), rule=rule, splits=splits, num_processes=arguments.np, progress=show)
        say(task)
    _export_predictions(arguments, paths, dataset, theirs, lesions)
    return 0


def _export_predictions(
    arguments: argparse.Namespace, paths: Paths, dataset: str, theirs: DetectionPaths, lesions: tuple[int, ...]
) -> None:
    """Box predictions of the test set and of the validation cases, where they were asked for."""
    from nnanomaly.baselines.export_nndetection import read_raw_document, task_name
    from nnanomaly.baselines.export_predictions import export_predictions
    from nnanomaly.baselines.prediction_sources import CONSOLIDATED, TEST_PREDICTIONS, VAL_PREDICTIONS, find_predictions
    from nnanomaly.evaluation.lesion_labels import find_lesion_labels
    from nnanomaly.evaluation.reference_set import test_set, validation_set

    task = task_name(dataset, read_raw_document(paths.raw(dataset)))
    for part, folder, references in (
        (TEST_PREDICTIONS, arguments.test, test_set),
        (VAL_PREDICTIONS, arguments.val, validation_set),
    ):
        if folder is not None:
            reference = references(paths, dataset)
            labels = find_lesion_labels(reference.folder, folder, reference=lesions)
            target = theirs.models() / task / arguments.model / CONSOLIDATED / part
            export_predictions(find_predictions(folder, "masks", reference), labels.prediction, target)
            say(target)

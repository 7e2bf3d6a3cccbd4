"""Commands that judge predictions on a dataset: ours alone, or several methods beside each other."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nnanomaly.cli import options
from nnanomaly.cli.evaluation_options import add_predicted_values, add_rule, rule_of
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import Paths
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.progress import progress_bar

if TYPE_CHECKING:
    from nnanomaly.baselines.compare_api import Method

logger = logging.getLogger(__name__)
THRESHOLD_WORDS = ("val", "otsu", "none")
NO_METHOD = "nothing to compare. Name predictions with --pred, --nnunet or --nndetection, each FOLDER or NAME=FOLDER."


def evaluate(argv: Arguments = None) -> int:
    """Judge our predictions of the test set, or of the validation cases of folds."""
    parser = options.new_parser(evaluate)
    parser.add_argument("-d", required=True, help="dataset name or id")
    parser.add_argument(
        "-f",
        nargs="+",
        default=None,
        help="judge the validation cases of folds, as nnanomaly_predict --val leaves them (default: test set)",
    )
    parser.add_argument(
        "-pred", type=Path, default=None, help="folder of predictions (default: those in the folds of the model)"
    )
    options.add_plans(parser)
    options.add_lesion_values(parser)
    add_predicted_values(parser)
    parser.add_argument(
        "-o", type=Path, default=None, help="folder for the summaries (default: that of the predictions)"
    )
    add_rule(parser)
    options.add_processes(parser)
    return run_command(parser, argv, _evaluate)


def _evaluate(arguments: argparse.Namespace) -> int:
    from nnanomaly.baselines.prediction_sources import find_predictions
    from nnanomaly.dataset.prediction_run import unfinished
    from nnanomaly.evaluation.evaluate_case import CaseFiles
    from nnanomaly.evaluation.evaluate_folder import evaluate_files
    from nnanomaly.evaluation.lesion_labels import find_lesion_labels
    from nnanomaly.evaluation.reference_set import test_set, validation_set
    from nnanomaly.evaluation.tables import overall_table, size_table, to_markdown

    paths = Paths.from_env()
    dataset = paths.dataset_name(arguments.d)
    if arguments.f is None and arguments.pred is None:
        raise ConfigurationError("CFG-FLAGS", "neither -f nor -pred says what is judged. Give folds, or a folder.")
    reference = test_set(paths, dataset) if arguments.f is None else validation_set(paths, dataset, arguments.f)
    folder = arguments.pred or paths.model(dataset, options.plans_name(arguments), "ddpm")
    found = find_predictions(folder, "masks", reference, allow_missing=arguments.allow_missing)
    places = sorted({item.prediction.parent for item in found.values() if item.prediction is not None})
    files = [
        CaseFiles(case=case, reference=path, prediction=found[case].prediction, boxes=found[case].candidates)
        for case, path in reference.references.items()
    ]
    labels = find_lesion_labels(
        reference.folder, places[0] if places else folder, reference=arguments.l, prediction=arguments.pred_labels
    )
    output = arguments.o or (places[0] if len(places) == 1 else folder)
    with progress_bar("evaluating") as show:
        evaluation = evaluate_files(
            files,
            labels=labels,
            output_folder=output,
            rule=rule_of(arguments),
            num_processes=arguments.np,
            progress=show,
            lacking=unfinished(*(places or [folder])),
        )
    _name_failures(evaluation.failures)
    if evaluation.unfinished:
        logging.getLogger(__name__).error("%s", evaluation.unfinished)
    methods = {"nnanomaly": evaluation.metrics}
    say(to_markdown(overall_table(methods)))
    say(to_markdown(size_table(methods)))
    return PARTIAL if evaluation.failures or evaluation.unfinished else 0


def compare(argv: Arguments = None) -> int:
    """Compare methods on the same cases and references: tables, figures, intervals.

    Where FOLDER is asked for, NAME=FOLDER gives the method another name.
    """
    parser = options.new_parser(compare)
    parser.add_argument("-d", required=True, help="dataset name or id")
    parser.add_argument("-f", nargs="+", default=None, help="judge validation cases of folds (default: test set)")
    _add_methods(parser)
    options.add_lesion_values(parser)
    parser.add_argument(
        "-pred_labels",
        nargs="+",
        default=[],
        metavar="NAME=VALUES",
        help="label values or classes that are lesions in the predictions of a method, as 2,3 (default: as their "
        "dataset.json says)",
    )
    parser.add_argument("-o", required=True, type=Path, help="folder for tables, figures and detection_summary.json")
    parser.add_argument(
        "-num_draws", type=int, default=2000, help="draws of the bootstrap; 0: no intervals (default %(default)s)"
    )
    parser.add_argument("-seed", type=int, default=12345, help="seed of the bootstrap (default %(default)s)")
    parser.add_argument(
        "-score",
        choices=("max", "mean", "median", "percentile95"),
        default="max",
        help="which of nnU-Net's probabilities in a component is its score (default %(default)s)",
    )
    add_rule(parser)
    options.add_processes(parser)
    return run_command(parser, argv, _compare)


def _add_methods(parser: argparse.ArgumentParser) -> None:
    """What is compared, and from which score on candidates count."""
    for flag, whose in (("--pred", "nnanomaly's"), ("--nnunet", "nnU-Net's"), ("--nndetection", "nnDetection's")):
        parser.add_argument(
            flag, action="append", default=[], metavar="FOLDER", help=f"folder of {whose} predictions; may be repeated"
        )
    parser.add_argument(
        "--val",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="folder of predictions of validation cases, from which val takes the threshold; may be repeated",
    )
    parser.add_argument(
        "-threshold",
        nargs="+",
        default=[],
        metavar="[NAME=]VALUE",
        help="score from which candidates count: a number, val (best mean F1 on validation cases), otsu or none; "
        "without NAME it is that of all methods that predict boxes (default: val for boxes, none for masks)",
    )


def _compare(arguments: argparse.Namespace) -> int:
    from nnanomaly.baselines.compare_api import ComparisonOptions, compare_methods
    from nnanomaly.evaluation.bootstrap import Bootstrap
    from nnanomaly.evaluation.comparison_files import tables, write_comparison
    from nnanomaly.evaluation.comparison_tables import text_frame
    from nnanomaly.evaluation.tables import to_markdown

    paths = Paths.from_env()
    wanted = ComparisonOptions(
        folds=None if arguments.f is None else tuple(arguments.f),
        lesion_labels=tuple(arguments.l),
        rule=rule_of(arguments),
        aggregate=arguments.score,
        bootstrap=Bootstrap(num_draws=arguments.num_draws, seed=arguments.seed),
        allow_missing=arguments.allow_missing,
        num_processes=arguments.np,
    )
    dataset, methods = paths.dataset_name(arguments.d), _methods(arguments)
    with progress_bar("comparing") as show:
        comparison = compare_methods(paths, dataset, methods, options=wanted, progress=show)
    write_comparison(comparison, arguments.o)
    _name_failures(comparison.left_out)
    for name, lacking in comparison.unfinished.items():
        logging.getLogger(__name__).error("%s: %s", name, lacking)
    for name, cells in tables(comparison).items():
        say(f"{name}\n{to_markdown(text_frame(cells))}")
    return PARTIAL if comparison.left_out or comparison.unfinished else 0


def _methods(arguments: argparse.Namespace) -> list["Method"]:
    """The methods of `--pred`, `--nnunet` and `--nndetection`, in this order, with what the other flags say of them."""
    from nnanomaly.baselines.compare_api import Method

    given = [
        (default, kind, text)
        for texts, default, kind in (
            (arguments.pred, "nnanomaly", "masks"),
            (arguments.nnunet, "nnunet", "masks"),
            (arguments.nndetection, "nndetection", "boxes"),
        )
        for text in texts
    ]
    if not given:
        raise ConfigurationError("CFG-METHOD", NO_METHOD)
    split = [(*_split(text, default), kind) for default, kind, text in given]
    names = [name for name, _, _ in split]
    validation = _by_name("--val", arguments.val, names)
    labels = _by_name("-pred_labels", arguments.pred_labels, names)
    everywhere = [text for text in arguments.threshold if "=" not in text]
    thresholds = _by_name("-threshold", [text for text in arguments.threshold if "=" in text], names)
    return [
        Method(
            name=name,
            kind="boxes" if kind == "boxes" else "masks",
            folder=Path(folder),
            validation=Path(validation[name]) if name in validation else None,
            threshold=_threshold(thresholds.get(name, everywhere[-1] if everywhere and kind == "boxes" else None)),
            labels=_numbers("-pred_labels", labels[name]) if name in labels else (),
        )
        for name, folder, kind in split
    ]


def _split(text: str, default: str) -> tuple[str, str]:
    """Name and folder of NAME=FOLDER; a path with "=" needs a name before it."""
    name, separator, folder = text.partition("=")
    return (name, folder) if separator else (default, text)


def _by_name(flag: str, texts: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """The values of NAME=VALUE flags; an unknown name raises `ConfigurationError` (CFG-METHOD)."""
    values = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or name not in names:
            raise ConfigurationError("CFG-METHOD", f"{flag} {text} must be NAME=VALUE with a name of {list(names)}")
        values[name] = value
    return values


def _threshold(text: str | None) -> str | float | None:
    if text is None or text in THRESHOLD_WORDS:
        return text
    try:
        return float(text)
    except ValueError:
        words = ", ".join(THRESHOLD_WORDS)
        raise ConfigurationError("CFG-EVAL", f"-threshold is {text!r}, must be a number or one of {words}") from None


def _numbers(flag: str, text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise ConfigurationError("CFG-EVAL", f"{flag} is {text!r}, must be whole numbers such as 2,3")
    return tuple(int(part) for part in parts)


def _name_failures(failures: dict[str, str]) -> None:
    for case, reason in failures.items():
        logger.error("%s left out: %s", case, reason)

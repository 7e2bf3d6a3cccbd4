"""Commands that make a raw dataset of data in another layout."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import Paths
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.files import refuse_within
from nnanomaly.utilities.progress import progress_bar
from nnanomaly.utilities.shown_text import command_line

if TYPE_CHECKING:
    from nnanomaly.dataset_conversion.labelled_cases import ConversionReport, LabelledCase, LabelScheme


def convert_kits(argv: Arguments = None) -> int:
    """Make a raw dataset of KiTS23.

    Scans, drawn tumors and cysts, and a mask and a weak label for each kidney.
    """
    parser = options.new_parser(convert_kits)
    parser.add_argument("-i", type=Path, required=True, help="folder with case_00000, case_00001, ...")
    options.add_new_dataset(parser, name="KiTS23")
    options.add_processes(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.dataset_conversion.kits23 import SCHEME, find_kits_cases

        return _convert(arguments, find_kits_cases(arguments.i), SCHEME)

    return run_command(parser, argv, run)


def convert_msd(argv: Arguments = None) -> int:
    """Make a raw dataset of a CT task of the Medical Segmentation Decathlon."""
    parser = options.new_parser(convert_msd)
    parser.add_argument("-i", type=Path, required=True, help="folder of the task, such as Task03_Liver")
    parser.add_argument("-organ", required=True, help="the label that is the organ, such as liver")
    parser.add_argument("-lesions", nargs="+", default=(), help="labels that are lesions of it (default: all others)")
    options.add_new_dataset(parser, name=None)
    options.add_processes(parser)

    def run(arguments: argparse.Namespace) -> int:
        from nnanomaly.dataset_conversion.decathlon import find_task_cases, read_task, task_scheme

        task = read_task(arguments.i)
        arguments.name = arguments.name or arguments.i.resolve().name.partition("_")[2] or "Decathlon"
        scheme = task_scheme(arguments.i, task, arguments.organ, tuple(arguments.lesions))
        return _convert(arguments, find_task_cases(arguments.i, task), scheme)

    return run_command(parser, argv, run)


def make_dataset(argv: Arguments = None) -> int:
    """Make a raw dataset of a table of paths."""
    parser = options.new_parser(make_dataset)
    parser.add_argument(
        "--csv", type=Path, required=True, help="table with the columns case and image, and others where they are known"
    )
    parser.add_argument("-organs", nargs="+", default=(), help="organs beside those that columns name")
    parser.add_argument(
        "-lesions",
        nargs="+",
        default=(),
        metavar="NAME=VALUE",
        help="lesion labels of the label maps, such as tumor=1 cyst=2",
    )
    options.add_new_dataset(parser, name=None)
    return run_command(parser, argv, _make_dataset)


def _make_dataset(arguments: argparse.Namespace) -> int:
    from nnanomaly.dataset.new_dataset import free_dataset_folder
    from nnanomaly.dataset.organ_labels import HEALTHY, load_organ_labels
    from nnanomaly.dataset_conversion.path_table import convert_table
    from nnanomaly.paths import ORGAN_LABELS_CSV

    name = arguments.name or arguments.csv.stem
    target = free_dataset_folder(Paths.from_env().raw_folder(), arguments.d, name)
    lesions = dict(_named_value(text) for text in arguments.lesions)
    number = convert_table(arguments.csv, target, organs=tuple(arguments.organs), lesions=lesions)
    say(f"{number} cases: {target}")
    if HEALTHY not in load_organ_labels(target).values():
        table = target / ORGAN_LABELS_CSV
        say(f"no organ is labelled {HEALTHY} yet: fill {table} by hand, or from reports:")
        say(f"next: {command_line('nnanomaly_label_reports', 'REPORTS', '-o', table)}")
        return 0
    _say_next(arguments.d)
    return 0


def _named_value(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if not name or not value.isdecimal() or int(value) == 0:
        raise ConfigurationError("CFG-LABELS", f"-lesions {text}: must be NAME=VALUE with a value from 1, as tumor=1")
    return name, int(value)


def _convert(arguments: argparse.Namespace, cases: "list[LabelledCase]", scheme: "LabelScheme") -> int:
    from nnanomaly.dataset.new_dataset import free_dataset_folder
    from nnanomaly.dataset_conversion.labelled_cases import convert_cases

    target = free_dataset_folder(Paths.from_env().raw_folder(), arguments.d, arguments.name)
    refuse_within(target, arguments.i)
    with progress_bar("converting") as show:
        report = convert_cases(cases, scheme, target, num_processes=arguments.np, progress=show)
    _tell(report)
    _say_next(arguments.d)
    return PARTIAL if report.failures else 0


def _say_next(number: int) -> None:
    say(f"next: {command_line('nnanomaly_plan_and_preprocess', '-d', number, '--verify_dataset_integrity')}")


def _tell(report: "ConversionReport") -> None:
    counts = ", ".join(f"{count} {label}" for label, count in report.label_counts.items())
    say(f"{report.num_cases} cases ({counts}): {report.folder}")
    for case, reason in report.failures.items():
        say(f"left out {case}: {reason}")

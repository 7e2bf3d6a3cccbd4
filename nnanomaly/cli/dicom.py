"""The commands that read and write DICOM."""

import argparse
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import IMAGES_TR, Paths
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.progress import progress_bar


def convert_dicom(argv: Arguments = None) -> int:
    """Make NIfTI images of the CT series in a DICOM folder.

    What cannot be trusted is skipped, with a reason.
    """
    parser = options.new_parser(convert_dicom)
    parser.add_argument("dicom_folder", type=Path, help="folder with DICOM files, in any order and depth")
    parser.add_argument(
        "-o",
        type=Path,
        default=None,
        help="folder for the images; with -d, its name in the raw dataset (default: imagesTr)",
    )
    parser.add_argument(
        "-d", default=None, help="name or id of the raw dataset that gets the images (default: none, -o says where)"
    )
    _add_case_table(parser)
    parser.add_argument(
        "-write_table",
        type=Path,
        default=None,
        help="CSV to write, with the case that each series became; it leads back to patients (default: none)",
    )
    parser.add_argument("--correct_tilt", action="store_true", help="straighten scans with a tilted gantry")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace other images of chosen case ids, and the table of -write_table",
    )
    options.add_processes(parser)
    return run_command(parser, argv, _convert)


def _convert(arguments: argparse.Namespace) -> int:
    from nnanomaly.dicom.extra import require_extra

    require_extra()
    from nnanomaly.dicom.convert_api import ConversionOptions, convert_folder
    from nnanomaly.dicom.report import SKIPPED, report_paths

    images = _images_folder(arguments)
    wanted = ConversionOptions(
        case_table=arguments.t,
        write_case_table=arguments.write_table,
        correct_tilt=arguments.correct_tilt,
        overwrite=arguments.overwrite,
        num_processes=arguments.np,
    )
    with progress_bar("converting") as show:
        outcomes = convert_folder(arguments.dicom_folder, images, wanted, progress=show)
    num_skipped = sum(outcome.status == SKIPPED for outcome in outcomes)
    say(f"{len(outcomes) - num_skipped} taken, {num_skipped} skipped: {report_paths(images)[1]}")
    return PARTIAL if num_skipped else 0


def _images_folder(arguments: argparse.Namespace) -> Path:
    """Where the images go; ConfigurationError (CFG-OUTPUT) where nothing says it."""
    if arguments.d is not None:
        paths = Paths.from_env()
        return paths.raw(paths.dataset_name(arguments.d)) / (arguments.o or IMAGES_TR)
    if arguments.o is None:
        raise ConfigurationError("CFG-OUTPUT", "where shall the images go? Give -o FOLDER, or a raw dataset with -d.")
    return Path(arguments.o)


def export_dicom(argv: Arguments = None) -> int:
    """Make DICOM segmentations and parametric maps of predictions, on their series."""
    parser = options.new_parser(export_dicom)
    parser.add_argument("-i", type=Path, required=True, help="predictions, as nnanomaly_predict leaves them")
    parser.add_argument("-dicom", type=Path, required=True, help="folder with the series that were converted")
    parser.add_argument("-o", type=Path, required=True, help="folder for the DICOM files; they name the patients")
    _add_case_table(parser)
    options.add_lesion_values(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace objects of other predictions in -o")
    options.add_processes(parser)
    return run_command(parser, argv, _export)


def _export(arguments: argparse.Namespace) -> int:
    from nnanomaly.dicom.extra import require_extra

    require_extra()
    from nnanomaly.dataset.prediction_run import unfinished
    from nnanomaly.dicom.export_api import ExportOptions, export_folder

    wanted = ExportOptions(
        case_table=arguments.t,
        lesion_values=tuple(arguments.l),
        overwrite=arguments.overwrite,
        num_processes=arguments.np,
    )
    with progress_bar("exporting") as show:
        failed = export_folder(arguments.i, arguments.dicom, arguments.o, wanted, progress=show)
    return PARTIAL if failed or unfinished(arguments.i) else 0


def _add_case_table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-t",
        type=Path,
        default=None,
        help="CSV with the columns series_uid and case (default: case ids are made of hashes)",
    )

"""The command that makes organ masks."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from nnanomaly.cli import options
from nnanomaly.cli.output import say
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import (
    DATASET_JSON,
    IMAGES_TR,
    IMAGES_TS,
    ORGAN_MASKS_TR,
    ORGAN_MASKS_TS,
    Paths,
    TotalSegmentatorPaths,
)
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.files import refuse_within
from nnanomaly.utilities.progress import progress_bar

if TYPE_CHECKING:
    from nnanomaly.dataset.raw_dataset import DatasetDescription

logger = logging.getLogger(__name__)


def segment_organs(argv: Arguments = None) -> int:
    """Make the organ masks that are missing, with TotalSegmentator; check all masks."""
    parser = options.new_parser(segment_organs)
    options.add_segmentation(parser)
    return run_command(parser, argv, _segment_organs)


def _segment_organs(arguments: argparse.Namespace) -> int:
    from nnanomaly.dataset.image_folder import name_misnamed
    from nnanomaly.dataset.raw_dataset import images_of_no_case, list_cases
    from nnanomaly.dataset.totalsegmentator_structures import check_structures
    from nnanomaly.preprocessing.mask_table import report_masks
    from nnanomaly.preprocessing.organ_segmentation import segment_folder
    from nnanomaly.roi.totalsegmentator import find_totalsegmentator

    options.check_part(arguments)
    _refuse_unclear_folders(arguments)
    description, folders = _wanted(arguments)
    check_structures(description.organs)
    installed = find_totalsegmentator(TotalSegmentatorPaths.from_env())
    failed = False
    for images, masks in folders:
        cases = list_cases(images, description.file_ending)
        part = cases[arguments.part_id :: arguments.num_parts]
        with progress_bar(f"organs of {images.name}") as show:
            report = segment_folder(
                images,
                masks,
                part,
                description=description,
                installed=installed,
                device=arguments.device,
                progress=show,
            )
        misnamed = images_of_no_case(images, cases, description)
        if misnamed:
            logger.error("%s", name_misnamed(images, misnamed, description.file_ending))
        failed = failed or bool(report.failures) or bool(misnamed)
        say(f"{len(report.segmented)} segmented, {len(report.kept)} kept, {len(report.failures)} failed: {masks}")
        say(report_masks(images, masks, cases, description=description))
    return PARTIAL if failed else 0


def _refuse_unclear_folders(arguments: argparse.Namespace) -> None:
    if (arguments.i is None) != (arguments.o is None):
        raise ConfigurationError("CFG-FLAGS", "-i (images) and -o (masks) belong together. Give both, or neither.")
    if arguments.i is not None:
        refuse_within(arguments.o, arguments.i)
    elif arguments.organs or arguments.d is None:
        raise ConfigurationError(
            "CFG-FLAGS", "give the dataset (-d), or -i IMAGES -o MASKS with -organs or the -d of a model."
        )
    if arguments.organs and arguments.d is not None:
        raise ConfigurationError("CFG-FLAGS", "-organs and -d both name the organs. Leave one out.")


def _wanted(arguments: argparse.Namespace) -> "tuple[DatasetDescription, list[tuple[Path, Path]]]":
    """What to segment, and the folders of images with those of their masks.

    With -i and -o no raw dataset is needed: the organs are those of -organs, of the dataset, or of a trained model.
    """
    from nnanomaly.dataset.raw_dataset import load_description, plain_description

    paths = Paths.from_env()
    if arguments.i is None:
        raw = paths.raw(paths.dataset_name(arguments.d))
        pairs = [(raw / IMAGES_TR, raw / ORGAN_MASKS_TR), (raw / IMAGES_TS, raw / ORGAN_MASKS_TS)]
        return load_description(raw), [pair for pair in pairs if pair[0].is_dir()]
    folders = [(arguments.i, arguments.o)]
    if arguments.organs:
        return plain_description(tuple(arguments.organs), arguments.i), folders
    if arguments.d is None:
        raise ConfigurationError("CFG-FLAGS", "which organs? Name them with -organs, or a trained model with -d.")
    dataset = paths.dataset_name(arguments.d)
    models = sorted((paths.results_root / dataset).glob(f"*/{DATASET_JSON}")) if paths.results_root else []
    raw_folder = (
        [paths.raw_root / dataset] if paths.raw_root and (paths.raw_root / dataset / DATASET_JSON).is_file() else []
    )
    described = [*raw_folder, *(path.parent for path in models)]
    if not described:
        raise ConfigurationError(
            "CFG-MODEL", f"no {DATASET_JSON} of {dataset}, neither raw nor of a model, names organs. Use -organs."
        )
    return load_description(described[0]), folders

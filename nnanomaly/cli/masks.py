"""The command that makes organ masks."""

import argparse
import logging
from pathlib import Path

from nnanomaly.cli import options
from nnanomaly.cli.run import PARTIAL, Arguments, run_command
from nnanomaly.paths import IMAGES_TR, IMAGES_TS, ORGAN_MASKS_TR, ORGAN_MASKS_TS, Paths, TotalSegmentatorPaths
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.progress import progress_bar

logger = logging.getLogger(__name__)


def segment_organs(argv: Arguments = None) -> int:
    """Make the organ masks that are missing, with TotalSegmentator; check all masks."""
    parser = options.new_parser(segment_organs)
    options.add_segmentation(parser)
    return run_command(parser, argv, _segment_organs)


def _segment_organs(arguments: argparse.Namespace) -> int:
    from nnanomaly.dataset.image_folder import name_misnamed
    from nnanomaly.dataset.raw_dataset import images_of_no_case, list_cases, load_description
    from nnanomaly.preprocessing.mask_table import report_masks
    from nnanomaly.preprocessing.organ_segmentation import segment_folder
    from nnanomaly.roi.totalsegmentator import find_totalsegmentator
    from nnanomaly.roi.totalsegmentator_structures import check_structures

    options.check_part(arguments)
    paths = Paths.from_env()
    raw = paths.raw(paths.dataset_name(arguments.d))
    description = load_description(raw)
    check_structures(description.organs)
    installed = find_totalsegmentator(TotalSegmentatorPaths.from_env())
    failed = False
    for images, masks in _folders(arguments, raw):
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
        print(f"{len(report.segmented)} segmented, {len(report.kept)} kept, {len(report.failures)} failed: {masks}")
        print(report_masks(images, masks, cases, description=description))
    return PARTIAL if failed else 0


def _folders(arguments: argparse.Namespace, raw: Path) -> list[tuple[Path, Path]]:
    """Folders of images, and of their masks."""
    if (arguments.i is None) != (arguments.o is None):
        raise ConfigurationError("CFG-FLAGS", "-i (images) and -o (masks) belong together. Give both, or neither.")
    if arguments.i is not None:
        return [(arguments.i, arguments.o)]
    pairs = [(raw / IMAGES_TR, raw / ORGAN_MASKS_TR), (raw / IMAGES_TS, raw / ORGAN_MASKS_TS)]
    return [pair for pair in pairs if pair[0].is_dir()]

"""What a prediction reads: a scan and the masks of its organs, from a dataset's folders or as a caller has them."""

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from nnanomaly.dataset.organ_mask_files import require_organ_mask
from nnanomaly.dataset.raw_dataset import DatasetDescription
from nnanomaly.imageio.in_memory import InMemory, image_in_memory, labels_in_memory
from nnanomaly.imageio.reader_writer import check_thickness, reader_writer_for, without_ending
from nnanomaly.preprocessing.preprocessor import read_organ_mask
from nnanomaly.roi.organ_masks import load_organ_mask, organ_on_grid
from nnanomaly.utilities.errors import ConfigurationError, DataError
from nnanomaly.volume import Grid, Volume

FILE = (str, PathLike)
File: TypeAlias = str | PathLike[str]
Image: TypeAlias = File | InMemory
"""A NIfTI file, or an image in memory."""
OrganMasks: TypeAlias = File | Mapping[str, Image]
"""The folder or label map of a case, or an image for every organ."""
FIRST_CHANNEL = "_0000"
IN_MEMORY = "image in memory"
UNNAMED = "case"


def read_case(
    image_path: Path, masks_folder: Path, *, case: str, organs: Sequence[str], description: DatasetDescription
) -> tuple[Volume, dict[str, Volume]]:
    """The scan `[1, Z, Y, X]` in HU and the masks of its organs, from files; raises what the readers raise."""
    image = reader_writer_for(image_path).read_volume(image_path)
    masks = {
        organ: read_organ_mask(masks_folder, case, organ, image=image_path, description=description)[0]
        for organ in organs
    }
    return image, masks


def masks_beside(images_folder: Path) -> Path:
    """`organMasksTs` for `imagesTs`: the folder of masks that belongs to a folder of images."""
    name = images_folder.resolve().name
    suffix = name.removeprefix("images") if name.startswith("images") else ""
    return images_folder.resolve().parent / f"organMasks{suffix}"


def case_of(image: Image) -> str:
    """The case id that a file name says (`case_0000.nii.gz`: case); "case" for an image in memory."""
    if not isinstance(image, FILE):
        return UNNAMED
    return without_ending(Path(image).name).removesuffix(FIRST_CHANNEL)


def read_input(
    image: Image, organ_masks: OrganMasks | None, *, organs: Sequence[str], description: DatasetDescription
) -> tuple[Volume, dict[str, Volume]]:
    """The scan `[1, Z, Y, X]` in HU and the masks of its organs, of whatever kind they are.

    Without `organ_masks` the masks of a file are those of its case in the folder beside it. Raises `DataError` as for
    files, and `ConfigurationError` (CFG-IMAGE for an object that is no image, CFG-MASKS without masks of one).
    """
    if organ_masks is None and isinstance(image, FILE):
        path = Path(image)
        masks_folder = masks_beside(path.parent)
        return read_case(path, masks_folder, case=case_of(path), organs=organs, description=description)
    if organ_masks is None:
        raise ConfigurationError(
            "CFG-MASKS", f"an image in memory needs organ_masks: a dictionary with masks of {', '.join(organs)}"
        )
    source = Path(image) if isinstance(image, FILE) else Path(IN_MEMORY)
    scan = reader_writer_for(source).read_volume(source) if isinstance(image, FILE) else image_in_memory(image, source)
    check_thickness(scan.grid, source)
    if isinstance(organ_masks, Mapping):
        return scan, {organ: _mask_of(organ_masks, organ, grid=scan.grid, source=source) for organ in organs}
    folder, stem = Path(organ_masks).parent, without_ending(Path(organ_masks).name)
    found = {organ: require_organ_mask(folder, stem, organ, description=description) for organ in organs}
    masks = {
        organ: load_organ_mask(file.path, file.label, grid=scan.grid, image=source) for organ, file in found.items()
    }
    return scan, masks


def _mask_of(organ_masks: Mapping[str, Image], organ: str, *, grid: Grid, source: Path) -> Volume:
    mask = organ_masks.get(organ)
    if mask is None:
        raise DataError(
            "ROI-MISSING",
            f"organ_masks has no {organ}, only {', '.join(map(str, organ_masks)) or 'nothing'}. Give a mask of every "
            "organ; one of zeros where the patient has none.",
        )
    if isinstance(mask, FILE):
        return load_organ_mask(Path(mask), None, grid=grid, image=source)
    name = Path(f"mask of {organ}")
    return organ_on_grid(labels_in_memory(mask, name), name, None, grid=grid, image=source)

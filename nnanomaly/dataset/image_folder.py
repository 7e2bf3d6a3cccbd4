"""What lies in a folder of images beside the images of cases, and what is to be done where there are none.

An image that no case name fits is never passed over in silence: somebody wanted a result for it.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from nnanomaly.imageio.reader_writer import READER_WRITERS
from nnanomaly.utilities.matching import some_of

OTHER_FORMATS = (".nhdr", ".hdr", ".img", ".img.gz", ".mgz", ".tif", ".tiff", ".png")
NIFTI, DICOM = (".nii.gz", ".nii"), (".dcm", ".dicom", ".ima")
_DICOM_MARK, _DICOM_MARK_AT = b"DICM", 128
_GZIP_MARK, _NIFTI_MARKS, _NIFTI_MARK_AT = b"\x1f\x8b", (b"n+1", b"ni1"), 344


def image_ending(path: Path) -> str | None:
    """The ending of an image file in lower case, `.dcm` for DICOM without one, "" for NIfTI without one, else None."""
    name = path.name.lower()
    known = next((ending for ending in (*READER_WRITERS, *OTHER_FORMATS, *DICOM) if name.endswith(ending)), None)
    if known is not None or path.suffix and not path.suffix[1:].isdecimal():  # DICOM is named 1.2.840.1 as well
        return ".dcm" if known in DICOM else known
    return _ending_by_content(path)


def misnamed_images(folder: Path, expected: Iterable[str]) -> list[str]:
    """Names of the image files of a folder that are not among the expected ones, sorted; hidden files do not count."""
    names = set(expected)
    present = [path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir()]
    return sorted(path.name for path in present if path.name not in names and image_ending(path) is not None)


def name_misnamed(folder: Path, names: list[str], file_ending: str) -> str:
    """A line for the log that says which images were left out for their names, and what to do."""
    return (
        f"[NNA-DATA-NAME] {len(names)} images in {folder} were left out, for their names are not of the form "
        f"{{case}}_0000{file_ending}: {some_of(names)}. Rename them."
    )


def why_no_case(folder: Path, file_ending: str) -> str:
    """What a folder without a case holds, and what to do; the end of a message."""
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    files = [path for path in paths if not path.is_dir()]
    endings = {path: image_ending(path) for path in files}
    found = Counter(ending for ending in endings.values() if ending is not None)
    if found[".dcm"]:
        return f"{found['.dcm']} DICOM files. Convert them: nnanomaly_convert_dicom {folder} -o another_folder"
    if not found:
        folders = len(paths) - len(files)
        inside = f"only {folders} folders and {len(files)} other files" if paths else "nothing"
        return f"{inside}. Name the folder that holds images such as case_0000{file_ending}"
    first = next(path for path, ending in endings.items() if ending is not None)
    what = ", ".join(f"{number} images {ending or 'without an ending'}" for ending, number in sorted(found.items()))
    if first.name.endswith(file_ending):
        stem = first.name.removesuffix(file_ending)
        return f"{what}, but none has a channel number. Rename them, such as {first.name} to {stem}_0000{file_ending}"
    if endings[first] in (*NIFTI, ""):
        return (
            f"{what}, but {file_ending} is wanted, such as case_0000{file_ending}. Compress or unpack them (gzip) and "
            "rename them; for a dataset of your own, file_ending in dataset.json may name the other ending"
        )
    if endings[first] in READER_WRITERS:
        return f"{what}, but {file_ending} is wanted. Convert them, or name their ending as file_ending in dataset.json"
    return f"{what}. Convert them to NIfTI, such as case_0000{file_ending}"


def _ending_by_content(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(_NIFTI_MARK_AT + 4)
    except OSError:  # a broken link or no permission: nothing that can be taken for an image
        return None
    if head[_DICOM_MARK_AT : _DICOM_MARK_AT + 4] == _DICOM_MARK:
        return ".dcm"
    is_nifti = head.startswith(_GZIP_MARK) or head[_NIFTI_MARK_AT : _NIFTI_MARK_AT + 3] in _NIFTI_MARKS
    return "" if is_nifti else None

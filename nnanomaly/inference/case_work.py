"""The three steps of one case of a prediction: read and preprocess, predict, write. A bad case costs only itself.

Whatever is raised for a case is its outcome. What the machine lacks (memory, disk) ends the whole run.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dataset.raw_dataset import DatasetDescription, image_files
from nnanomaly.imageio.reader_writer import check_content
from nnanomaly.inference.case_check import log_warnings
from nnanomaly.inference.case_input import read_case
from nnanomaly.inference.case_prediction import CasePatches, CasePrediction, find_patches, predict_patches
from nnanomaly.inference.fold import Fold
from nnanomaly.inference.prediction_files import remove_case, write_case
from nnanomaly.inference.status_table import Row, failed_row, status_rows, texts_by_organ
from nnanomaly.plans import Plans
from nnanomaly.utilities.case_faults import case_fault, record
from nnanomaly.volume import Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Failed:
    """A case that cannot be predicted."""

    case: str
    """Case id."""
    reason: str
    """The line for the user."""


def failed(case: str, error: Exception) -> Failed:
    """The outcome of a case in which `error` was raised; raises what the machine lacks, which ends the run."""
    fault = case_fault(error)
    record(case, fault.reason, fault.traceback)
    return Failed(case=case, reason=fault.reason)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prepared:
    """A case that is read and preprocessed."""

    case: str
    """Case id."""
    image: Volume
    """The scan in HU."""
    image_path: Path
    """Its file."""
    patches: CasePatches
    """The patches of its organs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Predicted:
    """A case that can be written."""

    prepared: Prepared
    """What it was predicted from."""
    result: CasePrediction
    """Its prediction."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaseWork:
    """The steps, with all that they need to know besides the case."""

    images_folder: Path
    """Folder of the images."""
    masks_folder: Path
    """Folder of the organ masks."""
    output: Path
    """Folder of the predictions."""
    description: DatasetDescription
    """dataset.json of the model."""
    plans: Plans
    """Its plans."""
    models: Sequence[Fold]
    """Its folds."""
    save_autoencoded: bool = False
    """Whether the image after encoding and decoding alone is written too."""

    def prepare(self, case: str) -> Prepared | Failed:
        """Read the scan and its masks, cut and resample the patches."""
        try:
            image_path = image_files(self.images_folder, case, self.description)[0]
            image, masks = read_case(
                image_path, self.masks_folder, case=case, organs=self.plans.organs, description=self.description
            )
            check_content(image, image_path)
            patches = find_patches(image, masks, case=case, plans=self.plans)
        except Exception as error:  # noqa: BLE001 (the boundary around one case)
            return failed(case, error)
        return Prepared(case=case, image=image, image_path=image_path, patches=patches)

    def predict(self, prepared: Prepared | Failed) -> Predicted | Failed:
        """Reconstruct the patches and find lesions."""
        if isinstance(prepared, Failed):
            return prepared
        try:
            result = predict_patches(prepared.patches, prepared.image.grid, plans=self.plans, models=self.models)
        except Exception as error:  # noqa: BLE001 (the boundary around one case)
            return failed(prepared.case, error)
        return Predicted(prepared=prepared, result=result)

    def write(self, predicted: Predicted | Failed) -> list[Row]:
        """Write all files of the case, or remove those of an earlier run; returns its rows of the status table.

        Raises EnvironmentFault when the disk does not take them.
        """
        if isinstance(predicted, Failed):
            return self._give_up(predicted.case, predicted.reason)
        case, image = predicted.prepared.case, predicted.prepared.image
        path, result = predicted.prepared.image_path, predicted.result
        try:
            write_case(
                self.output,
                case,
                image,
                path,
                result,
                description=self.description,
                save_autoencoded=self.save_autoencoded,
            )
        except Exception as error:  # noqa: BLE001 (the boundary around one case)
            remove_case(self.output, case, file_ending=self.description.file_ending)
            return self._give_up(case, failed(case, error).reason)
        for organ, status in result.status.items():
            if status == "no_roi":
                logger.warning("%s: the mask of %s is empty; nothing is said about this organ", case, organ)
        log_warnings(case, [warning for warning in result.warnings if warning.code != "ROI-ABSENT"])  # said above
        return status_rows(case, result.status, texts_by_organ(result.warnings))

    def _give_up(self, case: str, reason: str) -> list[Row]:
        remove_case(self.output, case, file_ending=self.description.file_ending)
        logger.error("%s failed: %s", case, reason)
        return failed_row(case, reason)

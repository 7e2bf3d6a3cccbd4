"""The lesions that a person drew in the training cases. Only `--drawn` and the evaluation open these files."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnanomaly.dataset.nnunet_labels import IGNORE
from nnanomaly.dataset.raw_dataset import DatasetDescription, load_description
from nnanomaly.imageio.reader_writer import reader_writer_for
from nnanomaly.paths import LABELS_TR
from nnanomaly.utilities.errors import DataError
from nnanomaly.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnLesions:
    """Where they lie."""

    folder: Path
    """Folder of the label maps."""
    description: DatasetDescription
    """dataset.json of the raw dataset."""

    @classmethod
    def of_dataset(cls, raw: Path) -> "DrawnLesions":
        """Those of the training cases of a raw dataset; `DataError` (SWEEP-DRAWN) where they are drawn in part."""
        description = load_description(raw)
        if IGNORE in description.labels:
            raise DataError(
                "SWEEP-DRAWN",
                f"{raw} has the label {IGNORE!r}: its lesions are drawn in part. Run it without --drawn: lesions are "
                "then inserted into healthy organs.",
            )
        return cls(folder=raw / LABELS_TR, description=description)

    def has(self, case: str) -> bool:
        """Whether a case has a drawing."""
        return self._path(case).is_file()

    def read(self, case: str) -> Volume | None:
        """Mask `[1, Z, Y, X]` of the lesions of a case, None where nobody drew any."""
        if not self.has(case):
            return None
        path = self._path(case)
        labels = reader_writer_for(path).read_labels(path)
        return replace(labels, array=np.isin(labels.array, self.description.lesion_values).astype(np.uint8))

    def missing(self) -> DataError:
        """The error when no validation case has a drawing."""
        return DataError(
            "SWEEP-DRAWN",
            f"no validation case has a file in {self.folder}. Run it without --drawn: lesions are "
            "then inserted into healthy organs.",
        )

    def _path(self, case: str) -> Path:
        return self.folder / f"{case}{self.description.file_ending}"

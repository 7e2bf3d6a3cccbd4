"""Fingerprint of a small dataset on disk: the same in any number of processes, and all faults in one error."""

from pathlib import Path

import pytest

from nnanomaly.dataset.raw_dataset import load_description
from nnanomaly.experiment_planning.extraction import extract_fingerprint
from nnanomaly.utilities.errors import DataError


def test_fingerprint_does_not_depend_on_the_number_of_processes(raw_folder: Path) -> None:
    description = load_description(raw_folder)
    calls: list[tuple[int, int]] = []
    alone = extract_fingerprint(
        raw_folder, description, num_processes=1, progress=lambda done, total: calls.append((done, total))
    )
    assert extract_fingerprint(raw_folder, description, num_processes=2) == alone
    assert alone.label_counts == {"absent": 0, "healthy": 11, "unhealthy": 1}
    assert alone.spacings == ((6.0, 4.0, 4.0),) * 6
    assert alone.organs[0].extent_mm == pytest.approx((48.0, 24.0, 24.0))
    assert alone.foreground_intensity_properties_per_channel["0"].mean == pytest.approx(40, abs=0.5)
    assert calls == [(done, 6) for done in range(1, 7)]


def test_all_unreadable_cases_are_named_in_one_error(raw_folder: Path) -> None:
    image = raw_folder / "imagesTr" / "case_1_0000.nii.gz"
    image.write_bytes(image.read_bytes()[:1000])
    (raw_folder / "organMasksTr" / "case_4" / "kidney_left.nii.gz").unlink()
    with pytest.raises(DataError, match=r"(?s)2 cases .*case_1: .*case_4: .*kidney_left"):
        extract_fingerprint(raw_folder, load_description(raw_folder), num_processes=1)


def test_excluded_organ_needs_no_mask(raw_folder: Path) -> None:
    (raw_folder / "organMasksTr" / "case_4" / "kidney_left.nii.gz").unlink()
    table = raw_folder / "organ_labels.csv"
    table.write_text(table.read_text().replace("case_4,kidney_left,healthy", "case_4,kidney_left,excluded"))
    fingerprint = extract_fingerprint(raw_folder, load_description(raw_folder), num_processes=1)
    assert fingerprint.label_counts == {"absent": 0, "healthy": 10, "unhealthy": 1}


def test_drawn_lesions_are_never_opened(raw_folder: Path) -> None:
    (raw_folder / "labelsTr").mkdir()
    (raw_folder / "labelsTr" / "case_0.nii.gz").write_bytes(b"no image")
    assert extract_fingerprint(raw_folder, load_description(raw_folder), num_processes=1).spacings

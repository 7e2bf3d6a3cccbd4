"""The weak labels: a table with one word per organ of a case, as a report gives it.

`organ_labels.csv` has the columns `case`, `organ`, `label` and, if wanted, `patient` (cases of one patient stay on one
side of every split); other columns are passed over. A row without a label only names the patient. Comma, semicolon or
tab, a byte-order mark, quotes and spaces around values are all accepted.
"""

from collections.abc import Mapping
from pathlib import Path

from nnanomaly.dataset.raw_dataset import find_cases, load_description
from nnanomaly.paths import IMAGES_TR, IMAGES_TS, ORGAN_LABELS_CSV
from nnanomaly.utilities.csv_table import Row, read_table, refuse_rows, write_table
from nnanomaly.utilities.errors import DataError

HEALTHY, UNHEALTHY, EXCLUDED, UNCERTAIN = LABELS = ("healthy", "unhealthy", "excluded", "uncertain")
REQUIRED_COLUMNS = ("case", "organ", "label")
EXAMPLE = "case,organ,label,source / case_00000,kidney_left,healthy,report"

OrganLabels = dict[tuple[str, str], str]


def load_organ_labels(folder: Path) -> OrganLabels:
    """Label of every (case, organ) in a dataset folder's table that has one; empty where there is no table.

    Unknown cases, organs and labels and contradictions raise one `DataError` that lists every line.
    """
    rows = _read_rows(folder / ORGAN_LABELS_CSV)
    if not rows:
        return {}
    description = load_description(folder)
    known = {case for name in (IMAGES_TR, IMAGES_TS) for case in find_cases(folder / name, description.file_ending)}
    faults: list[str] = []
    labels: OrganLabels = {}
    first_line: dict[tuple[str, str], int] = {}
    for line, values in rows:
        case, organ, label = values["case"], values["organ"], values["label"].lower()
        faults += _row_faults(line, values, known=known, organs=description.organs)
        if not label:
            continue
        previous = labels.setdefault((case, organ), label)
        start = first_line.setdefault((case, organ), line)
        if previous != label:
            faults.append(f"line {line}: {case} {organ} is {label!r}, but {previous!r} in line {start}")
    refuse_rows(folder / ORGAN_LABELS_CSV, faults, code="LABELS-ROWS")
    return labels


def repeated_rows(folder: Path) -> list[str]:
    """Rows of the table that say of an organ what an earlier row has said, with the lines of both."""
    first_line: dict[tuple[str, str], int] = {}
    repeated = []
    for line, values in _read_rows(folder / ORGAN_LABELS_CSV):
        start = first_line.setdefault((values["case"], values["organ"]), line)
        if start != line:
            repeated.append(f"line {line}: {values['case']} {values['organ']} stands in line {start} as well")
    return repeated


def patient_groups(folder: Path) -> dict[str, str]:
    """Patient of every case that the table names one for; empty without a column `patient`."""
    groups: dict[str, str] = {}
    faults = []
    for line, values in _read_rows(folder / ORGAN_LABELS_CSV):
        patient = values.get("patient", "")
        if patient and groups.setdefault(values["case"], patient) != patient:
            faults.append(f"line {line}: {values['case']} has the patients {groups[values['case']]!r} and {patient!r}")
    refuse_rows(folder / ORGAN_LABELS_CSV, faults, code="LABELS-ROWS")
    return groups


def cases_with_lesions(labels: Mapping[tuple[str, str], str]) -> dict[str, bool]:
    """Whether a case has an unhealthy organ: the strata of a split."""
    cases: dict[str, bool] = {}
    for (case, _), label in labels.items():
        cases[case] = cases.get(case, False) or label == UNHEALTHY
    return cases


def write_label_snapshot(folder: Path, labels: OrganLabels, *, groups: Mapping[str, str]) -> None:
    """Write the checked labels and patients into a (preprocessed) folder, so that training needs no raw dataset."""
    rows = [(case, organ, label, groups.get(case, "")) for (case, organ), label in sorted(labels.items())]
    write_table(folder / ORGAN_LABELS_CSV, (*REQUIRED_COLUMNS, "patient"), rows)


def read_label_snapshot(folder: Path) -> OrganLabels:
    """The labels that `write_label_snapshot` wrote; a missing snapshot raises `DataError`."""
    path = folder / ORGAN_LABELS_CSV
    if not path.is_file():
        raise DataError("LABELS-SNAPSHOT", f"{path} does not exist. Run nnanomaly_plan_and_preprocess again.")
    return {(values["case"], values["organ"]): values["label"] for _, values in _read_rows(path)}


def _row_faults(line: int, values: dict[str, str], *, known: set[str], organs: tuple[str, ...]) -> list[str]:
    faults = []
    if values["case"] not in known:
        faults.append(f"line {line}: no images of case {values['case']!r}")
    if values["organ"] not in organs:
        faults.append(f"line {line}: organ {values['organ']!r} is not one of {', '.join(organs)}")
    if values["label"] and values["label"].lower() not in LABELS:
        faults.append(f"line {line}: label {values['label']!r} is not one of {', '.join(LABELS)}")
    return faults


def _refuse(path: Path, faults: list[str]) -> None:
    refuse_rows(path, faults, code="LABELS-ROWS")


def _read_rows(path: Path) -> list[Row]:
    """Rows of the table with their line numbers; none where there is no table."""
    if not path.is_file():
        return []
    return read_table(
        path, required=REQUIRED_COLUMNS, optional=("patient",), codes=("LABELS-CSV", "LABELS-ROWS"), example=EXAMPLE
    )

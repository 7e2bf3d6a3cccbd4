"""Reports on disk to a table of weak labels: `nnanomaly_label_reports` from Python."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nnanomaly.dataset.organ_labels import HEALTHY
from nnanomaly.dataset.organ_labels import UNCERTAIN as UNSURE
from nnanomaly.dataset.raw_dataset import find_cases, load_description
from nnanomaly.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS, ORGAN_LABELS_CSV
from nnanomaly.pseudo_labels.label_files import (
    EVIDENCE_COLUMNS,
    NO_TABLE,
    CaseLabels,
    evidence_path,
    evidence_rows,
    read_evidence,
    read_labels,
    write_rows,
)
from nnanomaly.pseudo_labels.label_merge import MergedLabels, edited_labels, merge_labels
from nnanomaly.pseudo_labels.label_report import NOT_MENTIONED, OrganLabel, label_report
from nnanomaly.pseudo_labels.report_files import Report, read_reports, unread_files
from nnanomaly.pseudo_labels.rule_pack import BUILT_IN, Rules, built_in_pack, load_rules
from nnanomaly.utilities.case_faults import case_fault, record
from nnanomaly.utilities.errors import ConfigurationError, DataError

DEFAULT_ORGANS = ("kidney_left", "kidney_right")
AUTO = "auto"
MAX_NAMES = 10

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """What can be chosen."""

    language: str = AUTO
    """Language of all reports, or `auto`: that of each."""
    packs: tuple[Path, ...] = ()
    """Rule packs of the user; one of a language that we have takes the place of ours."""
    organs: tuple[str, ...] = ()
    """Organs to label; none named: those of the dataset.json beside the output, else both kidneys."""
    unmentioned: str = HEALTHY
    """Label of an organ that a report does not speak of."""
    with_sentences: bool = True
    """Whether the evidence holds the sentences."""
    overwrite: bool = False
    """Whether labels of an existing table that came from a report, and that nobody edited, may change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """What was labelled."""

    counts: dict[str, Counter[str]]
    """Organ and how often its reports give each label."""
    not_mentioned: dict[str, int]
    """Organ and how many of its healthy labels are so because the report does not name it."""
    faults: dict[str, str]
    """Case and why its report could not be read; its organs are uncertain, or it has no images and no row."""
    missing: tuple[str, ...]
    """Cases that have neither a report nor a label."""
    unread: tuple[Path, ...]
    """Files among the reports that are no text files."""
    merged: MergedLabels
    """What the table held before, and what became of it."""
    backups: tuple[Path, ...]
    """Where the tables of before are kept."""

    @property
    def is_complete(self) -> bool:
        """Whether everything that was asked for is in the table."""
        return not (self.faults or self.missing or self.unread or self.merged.differing_of_reports)


def label_reports(sources: Sequence[Path], output: Path, options: LabelOptions) -> LabelSummary:
    """Label all reports of folders and tables; write `output` and the evidence beside it.

    A table that is there already is filled (see `label_merge`) and kept under another name. A report that cannot be
    read makes the organs of its case uncertain, never healthy, and is named. With a dataset.json beside the output,
    reports of cases without images get no row, and cases without a report are named. Raises ConfigurationError
    (CFG-OUTPUT, CFG-ORGAN, CFG-LANGUAGE, CFG-PACK), DataError for a table that is none (LABELS-CSV, LABELS-ROWS), and
    what `read_reports` raises.
    """
    if output.is_dir():
        name = output / ORGAN_LABELS_CSV
        raise ConfigurationError("CFG-OUTPUT", f"{output} is a folder. Name a file, such as {name}")
    rules = find_rules(options)
    dataset = _dataset_beside(output)
    organs = check_organs(options.organs or dataset.organs or DEFAULT_ORGANS, rules)
    if dataset.organs and set(organs) - set(dataset.organs):
        strange = sorted(set(organs) - set(dataset.organs))
        raise ConfigurationError(
            "CFG-ORGAN",
            f"{output.parent / DATASET_JSON} has no {strange}, only {list(dataset.organs)}. Add them to it.",
        )
    before = _Before.read(output, overwrite=options.overwrite)
    reports = read_reports(sources)
    known = dataset.training | dataset.test
    faults: dict[str, str] = {}
    cases: dict[str, list[OrganLabel]] = {}
    for report in reports:
        if known and report.case not in known:
            faults[report.case] = "[NNA-REPORT-CASE] no images of this case. The report was left out."
            continue
        cases[report.case], fault = _label_case(report, rules, organs, unmentioned=options.unmentioned)
        if fault:
            faults[report.case] = fault
    merged, backups = _write(output, before, cases, options)
    return LabelSummary(
        counts={organ: Counter(o.label for o in _of(cases, organ)) for organ in organs},
        not_mentioned={o: sum(_is_healthy_unsaid(label) for label in _of(cases, o)) for o in organs},
        faults=faults,
        missing=_missing(dataset, {report.case for report in reports}, merged),
        unread=tuple(unread_files(sources)),
        merged=merged,
        backups=backups,
    )


def _of(cases: CaseLabels, organ: str) -> list[OrganLabel]:
    return [label for labels in cases.values() for label in labels if label.organ == organ]


def _is_healthy_unsaid(label: OrganLabel) -> bool:
    return label.label == HEALTHY and label.reason == NOT_MENTIONED


class _Before(NamedTuple):
    """The tables that are there already; empty where there are none."""

    labels: list[dict[str, str]]
    evidence: list[dict[str, str]]

    @classmethod
    def read(cls, output: Path, *, overwrite: bool) -> "_Before":
        """Read both; ConfigurationError (CFG-OUTPUT) for a file that is no table of labels and is not overwritten."""
        try:
            labels = read_labels(output)
        except DataError as error:
            if error.code != NO_TABLE:
                raise
            if not overwrite:
                raise ConfigurationError(
                    "CFG-OUTPUT", f"{output} exists and is no table of labels. Add --overwrite, or give another name."
                ) from error
            return cls([], [])
        try:
            return cls(labels, read_evidence(evidence_path(output)))
        except DataError as error:
            if error.code != NO_TABLE:
                raise
            return cls(labels, [])  # another file of that name, which is kept when ours is written


def _write(
    output: Path, before: _Before, cases: CaseLabels, options: LabelOptions
) -> tuple[MergedLabels, tuple[Path, ...]]:
    """Merge the labels into the table and their evidence into that of the table; kept labels keep their evidence."""
    fresh = {(case, organ.organ): organ.label for case, organs in cases.items() for organ in organs}
    edited = edited_labels(before.labels, before.evidence)
    merged = merge_labels(before.labels, fresh, edited=edited, overwrite=options.overwrite)
    evidence = evidence_rows(cases, with_sentences=options.with_sentences)
    taken = set(fresh) - set(merged.differing)
    rows = [row for row in before.evidence if (row["case"], row["organ"]) not in taken]
    rows = [row if options.with_sentences else {**row, "sentence": ""} for row in rows]
    rows += [row for row in evidence if (row["case"], row["organ"]) in taken]
    backups = (
        write_rows(output, merged.columns, merged.rows),
        write_rows(evidence_path(output), EVIDENCE_COLUMNS, sorted(rows, key=lambda r: (r["case"], r["organ"]))),
    )
    return merged, tuple(path for path in backups if path is not None)


def find_rules(options: LabelOptions) -> tuple[Rules, ...]:
    """The packs that may read a report."""
    packs = {language: built_in_pack(language) for language in BUILT_IN}
    rules = {language: load_rules(path) for language, path in packs.items()}
    for path in options.packs:
        own = load_rules(path)
        rules[own.pack.language] = own
    if options.language == AUTO:
        return tuple(rules.values())
    if options.language not in rules:
        raise ConfigurationError(
            "CFG-LANGUAGE", f"no rule pack of {options.language!r}; there are {', '.join(rules)}. Add one with -pack."
        )
    return (rules[options.language],)


def check_organs(organs: tuple[str, ...], rules: Sequence[Rules]) -> tuple[str, ...]:
    """Return the organs; ConfigurationError (CFG-ORGAN) for one that a pack does not know."""
    for pack in (r.pack for r in rules):
        known = {label for organ in pack.organs.values() for label in organ.labels.values()}
        if set(organs) - known:
            raise ConfigurationError(
                "CFG-ORGAN",
                f"the rule pack {pack.language!r} does not know {sorted(set(organs) - known)}, only {sorted(known)}. "
                "Name others with -organs, or add them to a pack of your own (-pack).",
            )
    return organs


def _label_case(
    report: Report, rules: Sequence[Rules], organs: tuple[str, ...], *, unmentioned: str
) -> tuple[list[OrganLabel], str]:
    """Labels of the organs, and the fault of a report that cannot be read."""
    if not report.encoding.startswith("utf"):
        _LOGGER.warning("[NNA-REPORT-ENCODING] %s is not UTF-8; it was read as Windows-1252", report.case)
    try:
        found = label_report(report.text, rules, unmentioned=unmentioned).organs
    except Exception as error:  # noqa: BLE001 (the boundary around one report)
        fault = case_fault(error, quote=False)
        record(report.case, fault.reason, fault.traceback)
        code = fault.error.code
        unread = [OrganLabel(organ=o, label=UNSURE, reason=code, mentions=(), num_deciding=0) for o in organs]
        return unread, fault.reason
    return [found[organ] for organ in organs], ""


class _Dataset(NamedTuple):
    """The raw dataset that the output lies in; empty where there is none."""

    organs: tuple[str, ...] = ()
    training: frozenset[str] = frozenset()
    test: frozenset[str] = frozenset()


def _dataset_beside(output: Path) -> _Dataset:
    folder = output.resolve().parent
    if not (folder / DATASET_JSON).is_file():
        return _Dataset()
    description = load_description(folder)
    training, test = (
        frozenset(find_cases(folder / images, description.file_ending)) for images in (IMAGES_TR, IMAGES_TS)
    )
    return _Dataset(description.organs, training, test)


def _missing(dataset: _Dataset, reported: set[str], merged: MergedLabels) -> tuple[str, ...]:
    """Cases without report and label, named; test cases count only where reports of some are there."""
    labelled = {row["case"] for row in merged.rows if row["label"]}
    wanted = dataset.training | (dataset.test if dataset.test & reported else frozenset())
    missing = sorted(wanted - reported - labelled)
    if missing:
        more = f" and {len(missing) - MAX_NAMES} more" if len(missing) > MAX_NAMES else ""
        _LOGGER.warning(
            "[NNA-REPORT-MISSING] no report, and no row: %s%s. Add their reports, or rows by hand.",
            ", ".join(missing[:MAX_NAMES]),
            more,
        )
    return tuple(missing)

"""Reports on disk to a table of weak labels: `nnanomaly_label_reports` from Python."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnanomaly.dataset.organ_labels import HEALTHY
from nnanomaly.dataset.organ_labels import UNCERTAIN as UNSURE
from nnanomaly.dataset.raw_dataset import find_cases, load_description
from nnanomaly.paths import DATASET_JSON, IMAGES_TR, IMAGES_TS
from nnanomaly.pseudo_labels.label_files import evidence_path, write_evidence, write_labels
from nnanomaly.pseudo_labels.label_report import OrganLabel, label_report
from nnanomaly.pseudo_labels.report_files import Report, read_reports
from nnanomaly.pseudo_labels.rule_pack import BUILT_IN, Rules, built_in_pack, load_rules
from nnanomaly.utilities.case_faults import case_fault, record
from nnanomaly.utilities.errors import ConfigurationError

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
    """Whether an existing table, which a person may have edited, is written anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSummary:
    """What was labelled."""

    counts: dict[str, Counter[str]]
    """Organ and how often it has each label."""
    faults: dict[str, str]
    """Case and why its report could not be read; its organs are uncertain, or it has no images and no row."""


def label_reports(sources: Sequence[Path], output: Path, options: LabelOptions) -> LabelSummary:
    """Label all reports of folders and tables; write `output` and the evidence beside it.

    A report that cannot be read makes the organs of its case uncertain, never healthy, and is named. With a
    dataset.json beside the output, reports of cases without images get no row, and cases without a report are named.
    Raises ConfigurationError (CFG-OUTPUT, CFG-ORGAN, CFG-LANGUAGE, CFG-PACK) and what `read_reports` raises.
    """
    _refuse_output(output, overwrite=options.overwrite)
    rules = find_rules(options)
    organs, known = _dataset_beside(output)
    organs = check_organs(options.organs or organs or DEFAULT_ORGANS, rules)
    faults: dict[str, str] = {}
    cases: dict[str, list[OrganLabel]] = {}
    reports = read_reports(sources)
    for report in reports:
        if known and report.case not in known:
            faults[report.case] = "[NNA-REPORT-CASE] no images of this case. The report was left out."
            continue
        cases[report.case], fault = _label_case(report, rules, organs, unmentioned=options.unmentioned)
        if fault:
            faults[report.case] = fault
    _name_missing(known - {report.case for report in reports})
    write_labels(output, cases)
    write_evidence(evidence_path(output), cases, with_sentences=options.with_sentences)
    counts = {
        organ: Counter(label.label for all_ in cases.values() for label in all_ if label.organ == organ)
        for organ in organs
    }
    return LabelSummary(counts=counts, faults=faults)


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


def _refuse_output(output: Path, *, overwrite: bool) -> None:
    if output.is_dir():
        raise ConfigurationError(
            "CFG-OUTPUT", f"{output} is a folder. Name a file, such as {output / 'organ_labels.csv'}"
        )
    if output.exists() and not overwrite:
        raise ConfigurationError(
            "CFG-OUTPUT", f"{output} exists; it may have been edited. Add --overwrite, or rename it."
        )


def _dataset_beside(output: Path) -> tuple[tuple[str, ...], frozenset[str]]:
    """Organs and cases of the raw dataset that the output lies in; nothing where there is none."""
    folder = output.resolve().parent
    if not (folder / DATASET_JSON).is_file():
        return (), frozenset()
    description = load_description(folder)
    images = (folder / IMAGES_TR, folder / IMAGES_TS)
    return description.organs, frozenset(c for i in images for c in find_cases(i, description.file_ending))


def _name_missing(cases: frozenset[str] | set[str]) -> None:
    if cases:
        names = sorted(cases)
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        _LOGGER.warning(
            "[NNA-REPORT-MISSING] no report, and no row: %s%s. Add their reports, or rows by hand.",
            ", ".join(names[:MAX_NAMES]),
            more,
        )

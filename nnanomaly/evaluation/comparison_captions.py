"""What stands under the tables and figures: every rule and every denominator, with the values that were used."""

from nnanomaly.evaluation.comparison import MAX_CANDIDATES_PER_SCAN, Compared, Comparison
from nnanomaly.evaluation.lesion_matching import MatchRule
from nnanomaly.evaluation.regions import SizeFloor
from nnanomaly.evaluation.thresholds import Threshold

BOX_DEFINITIONS = {
    "boxes": "a mask's component as nnDetection's box, low end one voxel below the first voxel, high end one above the "
    "last; box IoU with high - low as sides; a box matches the box of a lesion's component at min_iou or above; "
    "candidates in the order of falling score, each takes the free lesion it overlaps best",
    "box_size": "longer axial side (high - low - 1) * spacing; lesions keep the diameter of their mask",
    "box_floor": "masks turned into boxes keep the size floor of masks; predicted boxes have none",
    "box_dsc": "not defined for boxes",
    "threshold": "candidates with that score or a higher one count; validation: best mean F1 over the validation cases "
    "with lesions, the highest of equal ones, then frozen; same_cases: the same on the compared cases, optimistic; "
    "otsu: Otsu's threshold of the scores of the validation candidates; fixed: as given; none: all count",
    "interval": "2.5 and 97.5 percentiles over draws of the cases with replacement; the same draws for all methods, "
    "so that differences are paired; draws in which a number is undefined do not count",
    "curves": f"the best {MAX_CANDIDATES_PER_SCAN} candidates of every scan, whatever the threshold, matched best "
    "score first; average precision at 101 recalls; FROC: mean sensitivity at 1/8, 1/4, 1/2, 1, 2, 4, 8 false "
    "positives per scan over all scans; undefined if a candidate has no score",
}
"""Definitions beyond those of a single evaluation."""


def captions(comparison: Comparison) -> dict[str, str]:
    """Caption of every table and figure by its file name."""
    cases = _cases(comparison)
    common = f"{cases} {_rules(comparison)} {_thresholds(comparison)}"
    intervals = _intervals(comparison)
    free = comparison.rows[0].metrics.lesion_free.n_cases
    return {
        "table1": f"Mean ± SD (ddof 0) over the {comparison.rows[0].metrics.all.n_cases} cases with a lesion"
        f"{intervals}; a case with lesions and no candidate has precision, recall and F1 0. {common} DSC is taken over "
        f"all voxels of the reference and of the candidates above the floor; boxes have none. Lesion-free cases "
        f"({free}) are in no mean.",
        "table2": f"Mean ± SD (ddof 0) over the cases with a lesion of that size{intervals}. Size is the greatest "
        "axial diameter; exactly 2, 4 or 7 cm belongs to the smaller bin. False positives are unmatched candidates "
        f"whose own size is in the bin; candidates matched to lesions of other bins are neutral. {common} DSC is that "
        "of the lesions of the bin against their candidates and the false positives of the bin.",
        "counts": f"Counts and ratios pooled over the cases with a lesion{intervals}; FP/scan over all "
        f"{len(comparison.cases)} cases; FP per scan and share without any (clean) over the {free} lesion-free cases. "
        f"{common} AP and FROC at the IoU after the @, mAP over IoU 0.10, 0.15 ... 0.50, from the best "
        f"{MAX_CANDIDATES_PER_SCAN} candidates of every scan, whatever the threshold.",
        "differences": f"First minus second, paired by case{intervals}. {common}",
        "froc": f"Sensitivity against false positives per scan over all {len(comparison.cases)} scans, all methods as "
        f"boxes at IoU {_boxes(comparison).rule.min_iou:g}; a dot is the operating point of the tables. {cases}",
        "precision_recall": "Precision against recall, pooled over all scans, all methods as boxes at IoU "
        f"{_boxes(comparison).rule.min_iou:g}; a dot is the operating point; false positives of lesion-free scans "
        f"count here. {cases}",
        "f1_by_size": f"Mean F1 over the cases with a lesion of that size{intervals}, every method in its own form. "
        f"{common}",
    }


def _cases(comparison: Comparison) -> str:
    text = f"{len(comparison.cases)} cases of {comparison.dataset} ({comparison.cases_from})."
    if comparison.unfinished:
        text += f" Unfinished predictions: {', '.join(sorted(comparison.unfinished))}."
    if comparison.left_out:
        text += f" Left out for all methods, because they could not be read: {', '.join(sorted(comparison.left_out))}."
    for method, cases in comparison.missing.items():
        text += f" Missing predictions of {method}, counted as empty: {', '.join(cases)}."
    return text


def _rules(comparison: Comparison) -> str:
    """The rule of masks and of boxes, as far as they occur."""
    sentences = []
    forms = {row.compared.form: row.compared.rule for row in comparison.rows}
    if "masks" in forms:
        sentences.append(f"Masks match at voxel IoU >= {forms['masks'].min_iou:g} ({_matching(forms['masks'])}).")
    if "boxes" in forms:
        sentences.append(
            f"Boxes match at box IoU >= {forms['boxes'].min_iou:g} in nnDetection's convention "
            f"({_matching(forms['boxes'])}); masks become the boxes of their components."
        )
    rule = next(iter(forms.values()))
    masks = forms.get("masks", rule)
    sentences.append(
        f"Lesions are the {rule.connectivity}-connected components of the union of the lesion labels; those "
        f"{_floor(rule.reference_floor)} are ignored, and so are candidates that match only them. Predicted components "
        f"{_floor(masks.candidate_floor)} are removed; predicted boxes are not."
    )
    return " ".join(sentences)


def _matching(rule: MatchRule) -> str:
    words = {"hungarian": "most pairs, then largest IoU", "greedy": "largest IoU first", "score": "best score first"}
    extra = "" if rule.extra_candidates == "false_positive" else ", further candidates on a found lesion neutral"
    return f"one to one, {words[rule.assignment]}{extra}"


def _floor(floor: SizeFloor) -> str:
    return f"under {floor.min_voxels} voxels or {floor.min_diameter_mm:g} mm"


def _thresholds(comparison: Comparison) -> str:
    known = {row.compared.method: row.compared.threshold for row in comparison.rows}
    return "Score threshold: " + "; ".join(f"{name} {_threshold(item)}" for name, item in known.items()) + "."


def _threshold(threshold: Threshold) -> str:
    if threshold.value is None:
        return "none"
    how = {
        "validation": f"best mean F1 over {threshold.n_cases} validation cases with lesions, frozen",
        "same_cases": f"best mean F1 over these {threshold.n_cases} cases themselves, optimistic",
        "otsu": f"Otsu over the scores of {threshold.n_cases} validation cases",
        "fixed": "fixed",
        "none": "none",
    }
    return f">= {threshold.value:.4g} ({how[threshold.source]})"


def _intervals(comparison: Comparison) -> str:
    draws = comparison.bootstrap.num_draws
    return f" [95 % interval of {draws} draws of cases, seed {comparison.bootstrap.seed}]" if draws else ""


def _boxes(comparison: Comparison) -> Compared:
    return next(row.compared for row in comparison.rows if row.compared.form == "boxes")

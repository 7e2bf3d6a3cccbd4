from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from nnanomaly.dataset.splits import (
    fold_split,
    load_splits,
    make_splits,
    prepare_splits,
    save_splits,
    split_remarks,
    validate_splits,
    validation_cases,
)
from nnanomaly.utilities.errors import ConfigurationError, DataError

KITS = [f"case_{number:05d}" for number in [*range(300), *range(400, 589)]]
SHARED = Path(__file__).resolve().parents[3] / "shared"


def nnunet_folds(cases):
    """The published recipe, written out."""
    ordered = np.sort(cases)
    folds = KFold(n_splits=5, shuffle=True, random_state=12345).split(ordered)
    return [{"train": ordered[train].tolist(), "val": ordered[val].tolist()} for train, val in folds]


def test_without_patients_the_folds_are_those_of_nnunet_on_the_kits_ids():
    assert len(KITS) == 489
    splits = make_splits(KITS[::-1])
    assert splits == nnunet_folds(KITS)
    assert [len(split["val"]) for split in splits] == [98, 98, 98, 98, 97]


def test_strata_alone_do_not_change_the_folds():
    assert make_splits(KITS, groups={}, strata=dict.fromkeys(KITS[:50], True)) == nnunet_folds(KITS)


def test_folds_equal_a_file_that_nnunet_wrote():
    path = SHARED / "data/baselines_sample/nnUNet_preprocessed/Dataset501_KitsSample/splits_final.json"
    if not path.exists():
        pytest.skip("the shared sample of baseline results is not here")
    given = load_splits(path)
    assert make_splits(given[0]["train"] + given[0]["val"]) == given


def test_every_case_validates_once():
    validated = [case for split in make_splits(KITS) for case in split["val"]]
    assert sorted(validated) == KITS


def test_patients_stay_together_and_strata_are_balanced():
    cases = [f"c{number:03d}" for number in range(100)]
    groups = {case: f"p{number // 2}" for number, case in enumerate(cases[:60])}  # pairs; the rest stand alone
    strata = {case: number % 4 < 2 for number, case in enumerate(cases)}
    splits = make_splits(cases, groups=groups, strata=strata)
    validate_splits(splits, cases, groups=groups, source=Path("made"))
    assert sorted(case for split in splits for case in split["val"]) == cases
    assert all(18 <= len(split["val"]) <= 22 for split in splits)
    assert all(8 <= sum(strata[case] for case in split["val"]) <= 12 for split in splits)
    assert make_splits(cases[::-1], groups=groups, strata=strata) == splits


def test_folds_of_patients_do_not_depend_on_the_version_of_scikit_learn():
    groups = {"a": "p", "b": "p", "c": "q", "h": "q", "j": "r", "k": "r"}
    splits = make_splits(list("abcdefghijkl"), groups=groups, strata=dict.fromkeys("abdegjl", True))
    assert ["".join(split["val"]) for split in splits] == ["ab", "chl", "fg", "djk", "ei"]


def test_a_patient_named_like_a_case_is_not_that_case():
    cases = list("abcdef")
    groups = {"a": "f", "b": "f"}
    side = {case: number for number, split in enumerate(make_splits(cases, groups=groups)) for case in split["val"]}
    assert side["a"] == side["b"] != side["f"]


@pytest.mark.parametrize("num_unhealthy", [0, 1, 3, 4, 6])
def test_rare_strata_do_not_stop_grouped_splits(num_unhealthy):
    cases = [f"c{number}" for number in range(7)]
    groups = {case: f"p{max(number - 1, 0)}" for number, case in enumerate(cases)}
    splits = make_splits(cases, groups=groups, strata=dict.fromkeys(cases[:num_unhealthy], True))
    assert all(split["val"] for split in splits)
    validate_splits(splits, cases, groups=groups, source=Path("made"))


@pytest.mark.parametrize("groups", [None, {"a": "p", "b": "p"}])
def test_fewer_patients_than_folds_are_refused_with_the_numbers(groups):
    cases = list("abcd") if groups is None else list("abcde")
    with pytest.raises(DataError, match=f"4 patients with {len(cases)} cases do not fill 5 folds"):
        make_splits(cases, groups=groups)


def test_a_listed_fold_is_taken_as_it_is():
    splits = [{"train": ["b", "a"], "val": ["c"]}]
    assert fold_split(splits, 0, list("abc")) is splits[0]
    assert fold_split(splits, "0", list("abc")) is splits[0]


def test_fold_all_trains_and_validates_on_everything():
    assert fold_split([], "all", list("ba")) == {"train": ["a", "b"], "val": ["a", "b"]}


def test_a_fold_beyond_the_list_is_refused_with_those_there_are():
    with pytest.raises(ConfigurationError, match=r"CFG-FOLD.*no fold 5.*0 \.\.\. 4"):
        fold_split(make_splits(KITS), 5, KITS)


@pytest.mark.parametrize("fold", [-1, "x", "-1", "1.0", "00", "0x", "01", " 0", "", "\u0663", "ALL"])
def test_other_folds_are_refused(fold):
    with pytest.raises(ConfigurationError, match="CFG-FOLD"):
        fold_split(make_splits(KITS), fold, KITS)


@pytest.mark.parametrize(
    ("split", "code"),
    [
        ({"train": ["a", "x"], "val": ["b"]}, "SPLIT-CASES.*fold 0.*: x"),
        ({"train": ["a", "b"], "val": ["b"]}, "SPLIT-LEAK.*'b'"),
        ({"train": ["a"], "val": ["c"]}, "SPLIT-LEAK.*'p1'"),
    ],
)
def test_unknown_cases_and_leaks_are_refused_with_the_file(split, code):
    with pytest.raises(DataError, match=code) as error:
        validate_splits([split], list("abc"), groups={"a": "p1", "c": "p1"}, source=Path("raw/splits_final.json"))
    assert "raw/splits_final.json" in str(error.value)


@pytest.mark.parametrize(
    "text", ["{}", "[]", '[{"train": ["a"]}]', '[{"train": "a", "val": []}]', '[{"train": [1], "val": []}]']
)
def test_files_of_another_form_are_refused(tmp_path, text):
    (tmp_path / "splits.json").write_text(text)
    with pytest.raises(DataError, match="SPLIT-FORM"):
        load_splits(tmp_path / "splits.json")


def test_splits_are_made_once_and_then_kept(tmp_path):
    made = prepare_splits(tmp_path / "raw", tmp_path / "pre", cases=KITS)
    assert made == nnunet_folds(KITS)
    own = [{"train": KITS[:400], "val": KITS[400:]}]
    save_splits(tmp_path / "pre/splits_final.json", own)
    assert prepare_splits(tmp_path / "raw", tmp_path / "pre", cases=KITS) == own


def test_a_file_in_the_raw_folder_wins_and_is_copied(tmp_path):
    own = [{"train": KITS[:400], "val": KITS[400:]}]
    save_splits(tmp_path / "raw/splits_final.json", own)
    assert prepare_splits(tmp_path / "raw", tmp_path / "pre", cases=KITS) == own
    assert load_splits(tmp_path / "pre/splits_final.json") == own


def test_two_files_that_differ_are_refused_by_name(tmp_path):
    save_splits(tmp_path / "raw/splits_final.json", [{"train": ["a"], "val": ["b"]}])
    save_splits(tmp_path / "pre/splits_final.json", [{"train": ["b"], "val": ["a"]}])
    with pytest.raises(DataError, match=r"raw/splits_final.json and .*pre/splits_final.json differ"):
        prepare_splits(tmp_path / "raw", tmp_path / "pre", cases=list("ab"))


def test_a_leaking_file_is_not_copied(tmp_path):
    save_splits(tmp_path / "raw/splits_final.json", [{"train": ["a"], "val": ["a"]}])
    with pytest.raises(DataError, match="SPLIT-LEAK"):
        prepare_splits(tmp_path / "raw", tmp_path / "pre", cases=["a"])
    assert not (tmp_path / "pre").exists()


def test_a_link_to_nothing_is_named_and_stays(tmp_path):
    (tmp_path / "pre").mkdir()
    (tmp_path / "pre/splits_final.json").symlink_to(tmp_path / "lost.json")
    with pytest.raises(FileNotFoundError, match=r"IO-MISSING.*splits_final\.json"):
        prepare_splits(tmp_path / "raw", tmp_path / "pre", cases=KITS)
    assert (tmp_path / "pre/splits_final.json").is_symlink()


def test_cases_in_no_fold_and_cases_of_several_folds_are_said():
    splits = [{"train": ["a"], "val": ["b", "c"]}, {"train": ["b"], "val": ["a", "c"]}]
    unused, twice = split_remarks(splits, list("abcde"), source="splits_final.json")
    assert "SPLIT-UNUSED" in unused
    assert "2 cases are in no fold" in unused
    assert ": d, e. Add them" in unused
    assert "SPLIT-TWICE" in twice
    assert "several folds validate c," in twice
    assert split_remarks(nnunet_folds(KITS), KITS, source="splits_final.json") == []


def test_a_case_listed_twice_in_a_fold_is_refused():
    with pytest.raises(DataError, match="SPLIT-TWICE.*fold 1 lists a twice"):
        fold = {"train": ["b"], "val": ["c"]}
        validate_splits([fold, {"train": ["a", "b", "a"], "val": ["c"]}], list("abc"), source=Path("splits_final.json"))


def test_folds_that_validate_one_case_are_not_judged_together():
    splits = [{"train": ["c", "d"], "val": ["a", "b"]}, {"train": ["b", "d"], "val": ["a", "c"]}]
    assert validation_cases(splits, ["1"], list("abcd")) == {"1": ["a", "c"]}
    for folds in (["0", "1"], ["1", "0"], ["0", "all"]):
        with pytest.raises(DataError, match=rf"(?s)SPLIT-TWICE.*a is a validation case of folds {' and '.join(folds)}"):
            validation_cases(splits, folds, list("abcd"))

"""The three folders: read from the environment, missed only when used; datasets by id or name."""

from pathlib import Path

import pytest

from nnanomaly.paths import (
    DATASET_PATTERN,
    Paths,
    TotalSegmentatorPaths,
    environment_for,
    let_threads_sleep,
    number_of_workers_from_env,
)
from nnanomaly.utilities.errors import ConfigurationError

VARIABLES = ("nnanomaly_raw", "nnanomaly_preprocessed", "nnanomaly_results", "nnUNet_raw", "nnanomaly_def_n_proc")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)


def make(root: Path | None, *names: str) -> None:
    assert root is not None
    for name in names:
        (root / name).mkdir()


def test_folders_are_those_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES[:3]:
        monkeypatch.setenv(variable, str(tmp_path / variable))
    assert Paths.from_env() == Paths(*(tmp_path / variable for variable in VARIABLES[:3]))


def test_the_raw_folder_of_nnunet_serves_both_but_ours_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "theirs"))
    assert Paths.from_env().raw_root == tmp_path / "theirs"
    monkeypatch.setenv("nnanomaly_raw", "")
    assert Paths.from_env().raw_root == tmp_path / "theirs"
    monkeypatch.setenv("nnanomaly_raw", str(tmp_path / "ours"))
    assert Paths.from_env().raw_root == tmp_path / "ours"


def test_a_folder_that_is_not_set_is_missed_when_it_is_used_with_what_to_type() -> None:
    paths = Paths.from_env()
    uses = {
        "nnanomaly_raw": lambda: paths.raw("Dataset501_X"),
        "nnanomaly_preprocessed": lambda: paths.plans("Dataset501_X", "nnAnomalyPlans"),
        "nnanomaly_results": lambda: paths.fold("Dataset501_X", "nnAnomalyPlans", "ddpm", 0),
    }
    for variable, use in uses.items():
        with pytest.raises(ConfigurationError, match=rf"{variable} is not set.*export {variable}="):
            use()


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("nnanomaly_raw", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="nnanomaly_raw is .*not a folder"):
        Paths.from_env()


def test_folders_lie_where_the_documentation_says(paths: Paths) -> None:
    preprocessed, results = paths.preprocessed_root, paths.results_root
    assert preprocessed is not None and results is not None
    assert paths.plans("Dataset501_X", "P") == preprocessed / "Dataset501_X" / "P.json"
    assert paths.patches("Dataset501_X", "P_3d") == preprocessed / "Dataset501_X" / "P_3d"
    assert paths.fold("Dataset501_X", "P", "ddpm", 0) == results / "Dataset501_X/nnAnomalyTrainer__P__ddpm/fold_0"
    assert paths.fold("Dataset501_X", "P", "vqgan", "all").name == "fold_all"


def test_a_dataset_is_found_by_id_and_by_name_in_any_of_the_folders(paths: Paths) -> None:
    make(paths.raw_root, "Dataset501_Kidney", "Dataset7_TooShort", "notes")
    make(paths.results_root, "Dataset502_Liver")
    assert paths.dataset_names() == {"Dataset501_Kidney", "Dataset502_Liver"}
    for identifier in ("501", "Dataset501_Kidney"):
        assert paths.dataset_name(identifier) == "Dataset501_Kidney"
    assert paths.dataset_name("502") == "Dataset502_Liver"


def test_ids_are_compared_as_numbers_and_not_by_their_beginning(paths: Paths) -> None:
    make(paths.raw_root, "Dataset1000_Big", "Dataset100_Small", "Dataset004_Old")
    assert paths.dataset_name("100") == "Dataset100_Small"
    assert paths.dataset_name("1000") == "Dataset1000_Big"
    assert paths.dataset_name("4") == "Dataset004_Old"
    for absent in ("10", "00", "Dataset100", "Small"):
        with pytest.raises(ConfigurationError, match="CFG-DATASET"):
            paths.dataset_name(absent)


def test_the_same_dataset_in_all_folders_is_one(paths: Paths) -> None:
    for root in (paths.raw_root, paths.preprocessed_root, paths.results_root):
        make(root, "Dataset501_Kidney")
    assert paths.dataset_name("501") == "Dataset501_Kidney"


def test_an_id_of_two_datasets_is_refused_with_both_but_their_names_are_not(paths: Paths) -> None:
    make(paths.raw_root, "Dataset501_Kidney", "Dataset501_Liver")
    with pytest.raises(ConfigurationError, match=r"ambiguous: Dataset501_Kidney, Dataset501_Liver"):
        paths.dataset_name("501")
    assert paths.dataset_name("Dataset501_Liver") == "Dataset501_Liver"


def test_an_unknown_dataset_names_where_it_was_looked_for_and_what_is_there(paths: Paths) -> None:
    make(paths.raw_root, "Dataset501_Kidney")
    with pytest.raises(ConfigurationError) as refused:
        paths.dataset_name("777")
    for part in ("'777'", f"nnanomaly_raw={paths.raw_root}", "Dataset501_Kidney"):
        assert part in str(refused.value)
    with pytest.raises(ConfigurationError, match="set nnanomaly_raw"):
        Paths(None, None, None).dataset_name("777")


@pytest.mark.parametrize("identifier", ["²", "-5", "5.0", ""])
def test_what_is_no_number_is_no_id(paths: Paths, identifier: str) -> None:
    make(paths.raw_root, "Dataset005_Kidney")
    with pytest.raises(ConfigurationError, match="CFG-DATASET"):
        paths.dataset_name(identifier)


def test_number_of_workers_must_be_a_positive_whole_number(monkeypatch: pytest.MonkeyPatch) -> None:
    assert number_of_workers_from_env() is None
    monkeypatch.setenv("nnanomaly_def_n_proc", "3")
    assert number_of_workers_from_env() == 3
    for wrong in ("0", "-1", "many", "1.5", ""):
        monkeypatch.setenv("nnanomaly_def_n_proc", wrong)
        with pytest.raises(ConfigurationError, match="nnanomaly_def_n_proc"):
            number_of_workers_from_env()


def test_commands_started_by_us_see_the_same_folders(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in environment_for(paths).items():
        monkeypatch.setenv(variable, value)
    assert Paths.from_env() == paths


def test_a_choice_of_the_user_for_waiting_threads_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    let_threads_sleep()
    assert environment_for(Paths(None, None, None))["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize("fold", ["00", "0x", "-1", -1, "five", "", "../0", "\u0663", "0_old", "All"])
def test_only_the_name_of_a_fold_names_a_folder(paths: Paths, fold: int | str) -> None:
    with pytest.raises(ConfigurationError, match="CFG-FOLD") as refused:
        paths.fold("Dataset501_Kidney", "nnAnomalyPlans", "ddpm", fold)
    assert repr(str(fold)) in str(refused.value)
    for name in (0, "10", "all"):
        assert paths.fold("Dataset501_Kidney", "nnAnomalyPlans", "ddpm", name).name == f"fold_{name}"


def test_the_folders_of_totalsegmentator_are_those_of_its_own_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("TOTALSEG_HOME_DIR", "TOTALSEG_WEIGHTS_PATH"):
        monkeypatch.delenv(variable, raising=False)
    default = Path.home() / ".totalsegmentator" / "nnunet" / "results"
    assert TotalSegmentatorPaths.from_env() == TotalSegmentatorPaths(None, default)
    monkeypatch.setenv("TOTALSEG_HOME_DIR", str(tmp_path))
    assert TotalSegmentatorPaths.from_env() == TotalSegmentatorPaths(tmp_path, tmp_path / "nnunet" / "results")
    monkeypatch.setenv("TOTALSEG_WEIGHTS_PATH", str(tmp_path / "weights"))
    assert TotalSegmentatorPaths.from_env() == TotalSegmentatorPaths(tmp_path, tmp_path / "weights")
    environment = TotalSegmentatorPaths.from_env().environment(tmp_path / "home")
    assert environment["TOTALSEG_HOME_DIR"] == str(tmp_path / "home")
    assert environment["TOTALSEG_WEIGHTS_PATH"] == str(tmp_path / "weights")


@pytest.mark.parametrize("name", ["Dataset501_Kidney", "Dataset501_Niere links", "Dataset1000_腎.v2+x-1"])
def test_names_of_datasets_may_hold_letters_of_any_script_and_spaces_within(name: str) -> None:
    assert DATASET_PATTERN.match(name)


ACTING = ("x;rm", "$(x)", "a\x1b[2J", "a\n", "a ", "a/b", "\u202ex")


@pytest.mark.parametrize("name", [f"Dataset501_{part}" for part in ACTING])
def test_names_that_act_on_a_shell_or_a_terminal_are_no_names_of_datasets(name: str) -> None:
    assert not DATASET_PATTERN.match(name)


def test_the_raw_folder_is_never_the_preprocessed_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for preprocessed in (tmp_path, tmp_path / "link"):
        with pytest.raises(ConfigurationError, match="CFG-ENV.*nnanomaly_raw and nnanomaly_preprocessed are the same"):
            Paths(tmp_path, preprocessed, None).preprocessed("Dataset501_Kidney")

import pytest

from nnanomaly.dataset.organ_labels import (
    cases_with_lesions,
    load_organ_labels,
    patient_groups,
    read_label_snapshot,
    write_label_snapshot,
)
from nnanomaly.utilities.errors import DataError

PLAIN = "case,organ,label\ncase_a,kidney_left,healthy\ncase_a,kidney_right,unhealthy\n"
EXPECTED = {("case_a", "kidney_left"): "healthy", ("case_a", "kidney_right"): "unhealthy"}


def table(folder, text):
    (folder / "organ_labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace("\n", "\r\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace("case_a", '"case_a"'),
        PLAIN.replace(",", " , "),
        PLAIN.replace("\n", "\n\n") + "\n",
        PLAIN.replace("unhealthy", "Unhealthy").replace("label", "Label"),
        PLAIN + PLAIN.split("\n")[1],  # the same row twice
        "source;label;organ;case\r\nreport;healthy;kidney_left;case_a\r\nreport;unhealthy;kidney_right;case_a\r\n",
    ],
)
def test_tables_of_all_dialects_read_the_same(raw_folder, text):
    assert load_organ_labels(table(raw_folder, text)) == EXPECTED


def test_no_table_means_no_labels(raw_folder):
    (raw_folder / "organ_labels.csv").unlink()
    assert load_organ_labels(raw_folder) == {}
    assert patient_groups(raw_folder) == {}


def test_test_cases_may_have_labels(raw_folder):
    labels = load_organ_labels(table(raw_folder, "case,organ,label\ncase_t,kidney_left,excluded\n"))
    assert labels == {("case_t", "kidney_left"): "excluded"}


def test_all_faulty_rows_are_listed_with_their_lines(raw_folder):
    text = (
        PLAIN
        + "case_x,kidney_left,healthy\ncase_b,liver,healthy\n\ncase_b,kidney_left,ill\ncase_a,kidney_left,excluded\n"
    )
    with pytest.raises(DataError) as error:
        load_organ_labels(table(raw_folder, text))
    message = str(error.value)
    assert "line 4: no images of case 'case_x'" in message
    assert "line 5: organ 'liver'" in message
    assert "line 7: label 'ill'" in message
    assert "line 8: case_a kidney_left is 'excluded', but 'healthy' in line 2" in message


def test_long_lists_of_faults_are_cut_and_counted(raw_folder):
    rows = "".join(f"case_x{number},kidney_left,healthy\n" for number in range(25))
    with pytest.raises(DataError, match="and 5 more"):
        load_organ_labels(table(raw_folder, "case,organ,label\n" + rows))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("case,organ\ncase_a,kidney_left\n", r"needs \['case', 'organ', 'label'\]"),
        ("", "needs"),
        ("case,organ,label,label\n", "needs"),
        ("case,organ,label\ncase_a,kidney_left\n", "line 2: 2 values for 3 columns"),
        ("case,organ,label\ncase_ä,kidney_left,healthy\n".encode("latin-1"), "not UTF-8"),
        (PLAIN.encode("utf-16"), "not UTF-8"),
    ],
)
def test_tables_of_another_form_are_refused(raw_folder, text, named):
    with pytest.raises(DataError, match=named):
        load_organ_labels(table(raw_folder, text))


def test_patients_are_read_where_there_is_such_a_column(raw_folder):
    rows = ["case_a,kidney_left,healthy,p1", "case_a,kidney_right,healthy,", "case_b,kidney_left,healthy,"]
    text = "\n".join(["case,organ,label,patient", *rows])
    assert patient_groups(table(raw_folder, text)) == {"case_a": "p1"}
    assert patient_groups(table(raw_folder, PLAIN)) == {}


def test_a_case_of_two_patients_is_refused(raw_folder):
    text = "case,organ,label,patient\ncase_a,kidney_left,healthy,p1\ncase_a,kidney_right,healthy,p2\n"
    with pytest.raises(DataError, match="line 3: case_a has the patients 'p1' and 'p2'"):
        patient_groups(table(raw_folder, text))


def test_a_case_has_lesions_if_one_organ_is_unhealthy():
    labels = {("a", "l"): "unhealthy", ("a", "r"): "healthy", ("b", "l"): "healthy", ("c", "l"): "uncertain"}
    assert cases_with_lesions(labels) == {"a": True, "b": False, "c": False}


def test_a_snapshot_gives_back_labels_and_patients(tmp_path):
    write_label_snapshot(tmp_path, EXPECTED, groups={"case_a": "p,1"})
    assert read_label_snapshot(tmp_path) == EXPECTED
    assert patient_groups(tmp_path) == {"case_a": "p,1"}


def test_a_missing_snapshot_names_the_command_that_writes_it(tmp_path):
    with pytest.raises(DataError, match="Run nnanomaly_plan_and_preprocess again"):
        read_label_snapshot(tmp_path)

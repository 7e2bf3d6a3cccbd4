"""The labels of nnU-Net: regions as they are drawn and as they are predicted, and the label "ignore"."""

import pytest

from nnanomaly.dataset.nnunet_labels import ignore_value, labels_as_predicted, read_labels

BRATS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "enhancing": [3]}


def test_background_and_ignore_are_no_classes() -> None:
    labels = {"background": 0, "air": [0], "kidney": 1, "mass": [3, 2], "broken": "2", "ignore": 4}
    assert read_labels({"labels": labels}) == {"kidney": (1,), "mass": (2, 3)}
    assert ignore_value({"labels": labels}) == 4
    for other in ({}, {"labels": []}, {"labels": {"ignore": 0}}, {"labels": {"ignore": "4"}}, None):
        assert ignore_value(other) is None


def test_plain_labels_are_predicted_as_they_are_drawn() -> None:
    document = {"labels": {"background": 0, "kidney": 1, "tumor": 2}, "regions_class_order": None}
    assert labels_as_predicted(document) == {"kidney": (1,), "tumor": (2,)}


@pytest.mark.parametrize("ignore", [{}, {"ignore": 4}])
def test_a_region_is_its_entry_and_those_of_the_regions_within(ignore: dict[str, int]) -> None:
    document = {"labels": {**BRATS, **ignore}, "regions_class_order": [1, 2, 3]}
    assert labels_as_predicted(document) == {"whole": (1, 2, 3), "core": (2, 3), "enhancing": (3,)}
    # Another order: what was written as 2 is all but core, although 2 is core where it is drawn.
    document["regions_class_order"] = [2, 7, 9]
    assert labels_as_predicted(document) == {"whole": (1, 2, 3, 7, 9), "core": (3, 7, 9), "enhancing": (3, 9)}

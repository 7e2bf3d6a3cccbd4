"""Rule packs: ours are sound, and what is wrong with another one is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from nnanomaly.pseudo_labels.measures import MEASURED
from nnanomaly.pseudo_labels.rule_pack import BUILT_IN, KINDS, built_in_pack, load_rules
from nnanomaly.utilities.errors import ConfigurationError


def _changed(folder: Path, **changes: Any) -> Path:
    document = json.loads(built_in_pack("en").read_text(encoding="utf-8"))
    path = folder / "pack.json"
    path.write_text(json.dumps({**document, **changes}), encoding="utf-8")
    return path


@pytest.mark.parametrize("language", BUILT_IN)
def test_our_packs_load_and_fill_every_list(language: str) -> None:
    pack = load_rules(built_in_pack(language)).pack
    assert pack.language == language
    named = {*pack.findings, *pack.organs["kidney"].findings}
    assert named == set(KINDS) - {MEASURED}
    assert {"kidney", "liver"} == set(pack.organs)


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"findings": {"lump": ["lump"]}},
        {"attributes": ["lump"]},
        {"sides": {"middle": ["middle"]}},
        {"organs": {"liver": {"labels": {"up": "liver"}, "terms": ["liver"]}}},
        {"ignored": ["a*"]},
        {"ignored": [" "]},
        {"other_anatomy": ["L1"]},
    ],
)
def test_a_pack_with_a_fault_is_refused_by_name(changes: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="pack.json") as error:
        load_rules(_changed(tmp_path, **changes))
    assert error.value.code == "CFG-PACK"


def test_an_unknown_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="negations") as error:
        load_rules(_changed(tmp_path, negations=["no"]))
    assert error.value.code == "CFG-KEYS"

"""The rule packs of the package, read once."""

import pytest

from nnanomaly.pseudo_labels.rule_pack import BUILT_IN, Rules, built_in_pack, load_rules


@pytest.fixture(scope="session")
def rules() -> tuple[Rules, ...]:
    return tuple(load_rules(built_in_pack(language)) for language in BUILT_IN)


@pytest.fixture(scope="session")
def english(rules: tuple[Rules, ...]) -> Rules:
    return rules[0]

"""Small plans."""

from collections.abc import Callable

import pytest

from nnanomaly.plans import Plans


@pytest.fixture
def plans(tiny_plans: Callable[..., Plans]) -> Plans:
    """Plans of the preset `default` for tiny patches."""
    return tiny_plans("default", dataset="Dataset501_Kidney")

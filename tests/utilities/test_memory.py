"""How much memory there is."""

from nnanomaly.utilities.memory import available_memory_bytes


def test_available_memory_is_plausible() -> None:
    assert 1 << 26 < available_memory_bytes() < 1 << 50

"""Checks of plans; what they refuse is a `ConfigurationError` (CFG-PLAN) with the field, its value and the rule."""

import functools
import typing
from typing import Any, Literal

from nnanomaly.plans.limits import LENGTHS, LIMITS, LONGEST_ORGAN, ORGAN_PATTERN
from nnanomaly.utilities.errors import ConfigurationError
from nnanomaly.utilities.json_io import shown


def require(condition: bool, field: str, value: object, rule: str) -> None:
    """Refuse a value unless it keeps a rule."""
    if not condition:
        raise ConfigurationError("CFG-PLAN", f"plans field {field} is {shown(value)}, but {rule}")


def require_choice(field: str, value: str, choices: typing.Iterable[str]) -> None:
    """Refuse a value that is none of the choices."""
    require(value in choices, field, value, f"must be one of {', '.join(choices)}")


def require_names(field: str, names: tuple[str, ...], choices: tuple[str, ...] | None = None) -> None:
    """Names that become parts of file names, or those of `choices`; each once."""
    for name in names:
        fits = name in choices if choices else bool(ORGAN_PATTERN.fullmatch(name)) and len(name) <= LONGEST_ORGAN
        rule = f"one of {', '.join(choices)}" if choices else 'made of letters, digits, "-" and single "_"'
        require(fits and names.count(name) == 1, field, names, f"{shown(name)} must be there once and be {rule}")


def require_limits(plan: object) -> None:
    """Hold every number, list and choice of a plan against `LIMITS`, `LENGTHS` and the `Literal` it is annotated as."""
    kind: Any = type(plan)
    for field, (fewest, most) in LENGTHS.get(kind.__name__, {}).items():
        value = getattr(plan, field)
        require(fewest <= len(value) <= most, field, value, f"needs {fewest} to {most} values")
    for field, (low, high) in LIMITS[kind.__name__].items():
        value = getattr(plan, field)
        values = value if isinstance(value, tuple) else (value,)
        require(all(low <= item <= high for item in values), field, value, f"must lie in {low:g}..{high:g}")
    for field, choices in choices_of(kind).items():
        require_choice(field, getattr(plan, field), choices)


@functools.cache
def choices_of(kind: type) -> dict[str, tuple[str, ...]]:
    """The choices of every field of a dataclass that has some."""
    hints = typing.get_type_hints(kind)
    return {name: typing.get_args(hint) for name, hint in hints.items() if typing.get_origin(hint) is Literal}

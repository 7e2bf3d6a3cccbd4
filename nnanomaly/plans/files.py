"""The plans file on disk: JSON that nnU-Net's evaluation can open as well, with inheritance between stages."""

from pathlib import Path
from typing import Any

from nnanomaly.plans.plans import Plans
from nnanomaly.stages import NETWORKS, SPECS, STAGES
from nnanomaly.utilities.errors import ConfigurationError, IntegrityError
from nnanomaly.utilities.json_io import from_document, read_json, shown, to_document, write_json

SCHEMA_VERSION = 1
MAX_PARENTS = 16
"""Entries that a stage may take its fields from, one behind the other."""


def save_plans(path: Path, plans: Plans) -> None:
    """Write a plans file that nnU-Net's evaluation can open as well."""
    document = to_document(plans)
    configurations = {stage: document.pop(stage) for stage in NETWORKS}
    for stage in (name for name in NETWORKS if SPECS[name].built_on):
        configurations[stage] = {"previous_stage": SPECS[stage].built_on[-1], **configurations[stage]}
    head = {
        "schema_version": SCHEMA_VERSION,
        "image_reader_writer": "SimpleITKIO",
        "latent_shape": list(plans.latent_shape),
    }
    write_json(path, {**head, **document, "configurations": configurations})


def load_plans(path: Path) -> Plans:
    """Read a plans file; another schema version, unknown keys and values out of range raise with the place."""
    if not path.is_file():
        raise ConfigurationError("CFG-PLANS", f"{path} does not exist. Run nnanomaly_plan_and_preprocess first.")
    document = read_json(path)
    if not isinstance(document, dict) or not isinstance(document.get("configurations", {}), dict):
        raise ConfigurationError(
            "CFG-KEYS", f"{path}: expected an object with the object `configurations`. Plan again."
        )
    version = document.pop("schema_version", None)
    if version != SCHEMA_VERSION:
        raise IntegrityError(
            "PLAN-VERSION",
            f"{path} has schema_version {shown(version)}, this program reads {SCHEMA_VERSION}. Plan again.",
        )
    for derived in ("image_reader_writer", "latent_shape"):
        document.pop(derived, None)
    configurations = document.pop("configurations", {})
    for stage in NETWORKS:
        if stage in STAGES or stage in configurations:  # plans that are older than an optional stage have none
            document[stage] = _resolve_inheritance(configurations, stage, str(path))
    try:
        return from_document(Plans, document, source=str(path))
    except ConfigurationError as error:
        if error.code != "CFG-PLAN":
            raise
        raise ConfigurationError(error.code, f"{path}: {error.message}. Correct the file, or plan again.") from error


def _resolve_inheritance(
    configurations: dict[str, Any], name: str, source: str, seen: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Fields of a configuration over those of the one it inherits from, nested objects merged."""
    if not isinstance(name, str) or name not in configurations or name in seen or len(seen) >= MAX_PARENTS:
        raise ConfigurationError(
            "CFG-PLAN", f"{source}: configuration {shown(name)} is missing or inherits from itself"
        )
    if not isinstance(configurations[name], dict):
        raise ConfigurationError("CFG-KEYS", f"{source}: configuration {shown(name)} must be an object. Correct it.")
    fields = {key: value for key, value in configurations[name].items() if key != "previous_stage"}
    parent = fields.pop("inherits_from", None)
    if parent is None:
        return fields
    return _merge(_resolve_inheritance(configurations, parent, source, (*seen, name)), fields)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged

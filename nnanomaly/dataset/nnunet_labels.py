"""The labels of nnU-Net's `dataset.json`: plain values, regions, the region order of predictions, and "ignore".

This is the only place that knows these conventions. A region is a list of values; a network that is trained with
regions writes each as its entry of `regions_class_order`, later ones over earlier ones. The label "ignore" marks
voxels that nobody looked at: they belong to no class, are never predicted, and are masked in every evaluation.
"""

from typing import Any

BACKGROUND, IGNORE = "background", "ignore"

Labels = dict[str, tuple[int, ...]]
"""Values per name of a label or region."""


def read_labels(document: Any) -> Labels:
    """Foreground labels of a `dataset.json`, without background and "ignore"; what is malformed is left out."""
    labels = document.get("labels", {}) if isinstance(document, dict) else {}
    if not isinstance(labels, dict):
        return {}
    values = {name: item if isinstance(item, list) else [item] for name, item in labels.items()}
    whole = {name: item for name, item in values.items() if item and all(type(value) is int for value in item)}
    return foreground({name: tuple(sorted(set(item))) for name, item in whole.items()})


def foreground(labels: Labels) -> Labels:
    """The labels that a class may have: all but the background, under whatever name, and "ignore"."""
    return {name: values for name, values in labels.items() if name not in (BACKGROUND, IGNORE) and set(values) != {0}}


def ignore_value(document: Any) -> int | None:
    """The value of "ignore" in reference label maps, or None."""
    labels = document.get("labels") if isinstance(document, dict) else None
    value = labels.get(IGNORE) if isinstance(labels, dict) else None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if type(value) is int and value > 0 else None


def labels_as_predicted(document: Any) -> Labels:
    """Values of the labels in the predictions of a network with this `dataset.json`.

    Without regions those of the label maps. With them a region is every entry of the order that is its own or that of
    a region within it (which was written over it), and its label values as far as they are no entry of the order.
    """
    labels = read_labels(document)
    order = document.get("regions_class_order") if isinstance(document, dict) else None
    if not isinstance(order, list) or len(order) != len(labels) or any(type(value) is not int for value in order):
        return labels
    if not any(len(v) > 1 for v in labels.values()):
        return labels
    if any(type(value) is not int for value in order):
        return labels
    written = dict(zip(labels, order, strict=True))
    return {
        name: tuple(
            sorted(
                {written[inner] for inner in labels if set(labels[inner]) <= set(values)} | (set(values) - set(order))
            )
        )
        for name, values in labels.items()
    }

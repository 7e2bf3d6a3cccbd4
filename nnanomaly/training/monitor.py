"""Alarms of a running training, in plain words: what has gone wrong, by which figures, and what to do about it.

Pure functions of what a run has logged. A loss that is not finite is no alarm: the loop refuses it.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

FINE = ""
Record = Mapping[str, Any]
"""A line of log.jsonl: `iteration`, `kind` (`start`, `train`, `validation` or `alarm`), and numbers by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """When something counts as wrong."""

    window: int = 20
    """Training records (means of ten iterations) over which the perplexity is averaged."""
    min_perplexity: float = 4.0
    """Codes that must at least be in use, effectively."""
    min_code_share: float = 0.005
    """The same as a share of the codebook; the larger of both counts."""
    long_window: int = 50
    """Training records over which the discriminators' loss is averaged."""
    min_discriminator_loss: float = 0.1
    """Hinge loss of all discriminators below which they have won; undecided ones are at 1 each."""
    judged_from: float = 0.5
    """Share of the run before which a validation is not compared with a blur."""
    max_latent_mean: float = 0.3
    """Largest mean of a channel of standardised latents, either way."""
    latent_std: tuple[float, float] = (0.7, 1.4)
    """Range of the standard deviation of a channel of standardised latents."""
    standard_errors: float = 2.0
    """Standard errors above 0.5 within which an AUC is chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What the checks look at."""

    facts: Record
    """Numbers that were known when the run started."""
    train: Sequence[Record]
    """The latest training records, oldest first."""
    validation: Record
    """The latest validation; empty before the first."""
    progress: float
    """Share of the run that was done at that validation; 1 if the run ended with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing that began to be wrong, or ceased to be."""

    name: str
    """Which check."""
    raised: bool
    """Whether it began; else it ceased."""
    message: str
    """One line: figures and what to do; empty where it ceased."""


def codebook_collapse(seen: Observed, settings: MonitorSettings) -> str | None:
    """The perplexity of the codes is a handful: the latents carry next to nothing."""
    usage = _mean_of_latest(seen.train, "perplexity", settings.window)
    if usage is None or "num_codes" not in seen.facts:
        return None
    num_codes = seen.facts["num_codes"]
    limit = min(num_codes / 2, max(settings.min_perplexity, settings.min_code_share * num_codes))
    if usage >= limit:
        return FINE
    return (
        f"the codebook has collapsed: {usage:.1f} of {num_codes:.0f} codes are in use (perplexity, at least "
        f"{limit:.0f}). Lower -lr or vqgan.commitment_weight, or restart unused codes more often (vqgan.restart_every)."
    )


def discriminator_wins(seen: Observed, settings: MonitorSettings) -> str | None:
    """The hinge loss of the discriminators stays near 0 while the autoencoder feels them: their gradient is useless."""
    felt = [record for record in seen.train if "adversarial" in record]
    loss = _mean_of_latest(felt, "discriminator", settings.long_window)
    if loss is None:
        return None
    if loss >= settings.min_discriminator_loss:
        return FINE
    return (
        f"the discriminators have won: with a hinge loss of {loss:.3f} (below {settings.min_discriminator_loss:g}) "
        "they tell all reconstructions apart. Lower vqgan.discriminator_learning_rate or vqgan.adversarial_weight."
    )


def latent_drift(seen: Observed, settings: MonitorSettings) -> str | None:
    """Standardised latents of the current patches have not mean 0 and deviation 1: a noise level means another one."""
    if "latent_mean" not in seen.facts:
        return None
    mean, low, high = (seen.facts[key] for key in ("latent_mean", "latent_std_low", "latent_std_high"))
    smallest, largest = settings.latent_std
    if abs(mean) <= settings.max_latent_mean and smallest <= low and high <= largest:
        return FINE
    return (
        f"the latents have drifted: a channel has mean {mean:.2f} (at most {settings.max_latent_mean:g} either way), "
        f"standard deviations are {low:.2f} to {high:.2f} ({smallest:g} to {largest:g}). The patches are not like "
        "those that the scaling was measured on: train the vqgan anew, and after it the classifier and the ddpm."
    )


def worse_than_blur(seen: Observed, settings: MonitorSettings) -> str | None:
    """Held-out patches would be shown better by a blur of the size of a token than by the autoencoder."""
    if "blur_l1" not in seen.facts or "l1" not in seen.validation or seen.progress < settings.judged_from:
        return None
    error, blur = seen.validation["l1"], seen.facts["blur_l1"]
    if error <= blur:
        return FINE
    return (
        f"the autoencoder is worse than a blur: its mean absolute error on held-out patches is {error:.4f}, that of a "
        f"blur by its stride {blur:.4f}. Train longer (-num_iterations), with another -lr, or with wider networks."
    )


def classifier_at_chance(seen: Observed, settings: MonitorSettings) -> str | None:
    """The AUC of the last validation is no more than chance gives with so few patches."""
    counts = seen.facts.get("num_healthy", 0), seen.facts.get("num_unhealthy", 0)
    if "auc" not in seen.validation or min(counts) == 0 or seen.progress < 1:
        return None
    auc, margin = seen.validation["auc"], settings.standard_errors * auc_standard_error(*counts)
    if auc > 0.5 + margin:
        return FINE
    return (
        f"the classifier is at chance: AUC {auc:.2f} on {counts[0]:.0f} healthy and {counts[1]:.0f} unhealthy held-out "
        f"patches, where chance is 0.50 +- {margin:.2f}. Label more organs, check organ_labels.csv, or set guidance to "
        "none in the plans."
    )


Check = Callable[[Observed, MonitorSettings], str | None]
"""The message while something is wrong, `FINE`, or None while nothing can be told."""
CHECKS: dict[str, Check] = {
    "codebook-collapse": codebook_collapse,
    "discriminator-wins": discriminator_wins,
    "latent-drift": latent_drift,
    "worse-than-blur": worse_than_blur,
    "classifier-at-chance": classifier_at_chance,
}


def auc_standard_error(num_negative: float, num_positive: float) -> float:
    """Of an AUC without signal: sqrt((m + n + 1) / (12 m n)) (Mann and Whitney)."""
    return math.sqrt((num_negative + num_positive + 1) / (12 * num_negative * num_positive))


class Monitor:
    """Remembers what a run has logged and which alarms are on, so that each is said once until it clears."""

    def __init__(self, settings: MonitorSettings) -> None:
        """Nothing is seen yet."""
        self.settings = settings
        self.on: set[str] = set()
        self._facts: Record = {}
        self._train: deque[Record] = deque(maxlen=max(settings.window, settings.long_window))
        self._validation: Record = {}
        self._progress = 0.0

    def restore(self, records: Iterable[Record]) -> None:
        """Take over what an interrupted run has logged; its alarms are not said again."""
        for record in records:
            self._take(record)

    def see(self, record: Record, *, progress: float) -> list[Alarm]:
        """Take one record, logged at this share of the run; the alarms that begin or cease with it."""
        self._take(record)
        if record["kind"] == "validation":
            self._progress = progress
        return self._judge()

    def end(self) -> list[Alarm]:
        """The run has ended, be it early; the alarms that begin or cease now that the last validation is known."""
        self._progress = 1.0
        return self._judge()

    def _judge(self) -> list[Alarm]:
        seen = Observed(facts=self._facts, train=self._train, validation=self._validation, progress=self._progress)
        changes = []
        for name, check in CHECKS.items():
            message = check(seen, self.settings)
            if message is not None and bool(message) != (name in self.on):
                changes.append(Alarm(name=name, raised=bool(message), message=message))
                self.on ^= {name}
        return changes

    def _take(self, record: Record) -> None:
        if record["kind"] == "start":
            self._facts = record
        elif record["kind"] == "train":
            self._train.append(record)
        elif record["kind"] == "validation":
            self._validation = record
        elif record["kind"] == "alarm":
            self.on = self.on | {record["alarm"]} if record["raised"] else self.on - {record["alarm"]}


def _mean_of_latest(records: Sequence[Record], key: str, count: int) -> float | None:
    """Mean of a number over the latest `count` records that have it; None while there are fewer."""
    values = [record[key] for record in records if key in record][-count:]
    return fmean(values) if len(values) == count else None

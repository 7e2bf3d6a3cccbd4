"""The table of stages: what each is called, what it is built on, where it is set up. Nothing else lists them.

A stage is set up in a module that only a training imports, so the table names it as `module:function`; whoever only
asks for names loads no network. `training.train_api` is the shell that runs them all.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol


class Inference(Protocol):
    """What the table asks of `plans.InferencePlan`."""

    @property
    def needs_classifier(self) -> bool:
        """Whether guidance takes the gradient of a classifier."""
        ...

    @property
    def needs_head(self) -> bool:
        """Whether the map takes the lesion head."""
        ...

    @property
    def reduction(self) -> str:
        """What sorts candidates out, or `none`."""
        ...


def always(inference: Inference) -> bool:
    """Every prediction takes it."""
    return True


def never(inference: Inference) -> bool:
    """No prediction takes it."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSpec:
    """One row of the table."""

    name: str
    """What a user types; also the field of `Plans` and the name of the configuration, if it has one."""
    setup: str = ""
    """`module:function` of (StageRun) -> StageSetup; empty for what the training loop does not fit."""
    train: str = ""
    """`module:function` that trains it where there is no `setup`."""
    finish: str = ""
    """`module:function` of (StageRun, *, kept) that follows a training, and a stage that was kept."""
    built_on: tuple[str, ...] = ()
    """Stages whose weights it depends on, in order; it no longer fits when one of them is another."""
    before: tuple[str, ...] = ()
    """Stages that its command trains first where they are missing; all others of `built_on` must be there."""
    optional: bool = True
    """Whether plans may be without it."""
    used: Callable[[Inference], bool] = never
    """Whether a prediction with these plans takes it."""
    predicts: bool = False
    """Whether the fold is calibrated once it is trained."""
    purpose: str = ""
    """What plans that take it do: `the plans ...`. Given for a stage that follows the ddpm when the plans take it."""


AUTOENCODER: Final = "vqgan"
"""Makes the latents that others learn from."""
CALIBRATED: Final = "ddpm"
"""Its folder holds the calibration, and the plans that a prediction goes by."""
HEAD: Final[Literal["head"]] = "head"
"""A network that tells lesions from other residuals."""
REDUCTION: Final = "reduction"
"""A model that tells true candidates from false ones."""
TABLE = (
    StageSpec(
        name=AUTOENCODER,
        setup="nnanomaly.training.stage_setup:setup_vqgan",
        finish="nnanomaly.training.latent_scaling:finish_vqgan",
        optional=False,
        used=always,
    ),
    StageSpec(
        name="classifier",
        setup="nnanomaly.training.stage_setup:setup_classifier",
        built_on=(AUTOENCODER,),
        before=(AUTOENCODER,),
        optional=False,
        used=lambda inference: inference.needs_classifier,
    ),
    StageSpec(
        name=CALIBRATED,
        setup="nnanomaly.training.stage_setup:setup_ddpm",
        built_on=(AUTOENCODER,),
        before=(AUTOENCODER, "classifier"),
        optional=False,
        used=always,
        predicts=True,
    ),
    StageSpec(
        name=HEAD,
        setup="nnanomaly.lesion_head.head_setup:setup_head",
        finish="nnanomaly.lesion_head.head_setup:finish_head",
        built_on=(AUTOENCODER, "classifier", CALIBRATED),
        used=lambda inference: inference.needs_head,
        predicts=True,
        purpose="detect with the lesion head",
    ),
    StageSpec(
        name=REDUCTION,
        train="nnanomaly.candidate_reduction.train_reduction_api:train_reduction",
        built_on=(AUTOENCODER, "classifier", CALIBRATED, HEAD),
        used=lambda inference: inference.reduction != "none",
        predicts=True,
        purpose="sort candidates out with a reduction",
    ),
)
"""All stages; each after those that it is built on."""
SPECS: Mapping[str, StageSpec] = {spec.name: spec for spec in TABLE}
ALL = tuple(SPECS)
"""Names of all stages."""
NETWORKS = tuple(spec.name for spec in TABLE if spec.setup)
"""Those that the training loop fits, which have a field in the plans and a final checkpoint."""
STAGES = tuple(spec.name for spec in TABLE if not spec.optional)
"""The chain of the published method, which all plans have."""
SEVERAL = {"all": (CALIBRATED, HEAD)}
"""Names for several stages at once."""
TRAINABLE = (*ALL, *SEVERAL)
"""Everything that can be asked for."""


def asked_for(configuration: str) -> tuple[str, ...]:
    """The stages of a configuration."""
    return SEVERAL.get(configuration, (configuration,))


def predicts(configuration: str) -> bool:
    """Whether what a configuration trains is calibrated in the end."""
    return any(SPECS[stage].predicts for stage in asked_for(configuration))


def stages_to_train(stage: str, inference: Inference) -> tuple[str, ...]:
    """The stages before it that its command trains where the plans take them, and the stage itself."""
    return (*(name for name in SPECS[stage].before if SPECS[name].used(inference)), stage)


def stages_built_on(stage: str, inference: Inference) -> tuple[str, ...]:
    """The stages that no longer fit once `stage` is another one."""
    later = tuple(spec.name for spec in TABLE if stage in spec.built_on)
    return later if SPECS[stage].used(inference) else ()


def networks_of(inference: Inference) -> tuple[str, ...]:
    """The networks that a prediction takes."""
    return tuple(name for name in NETWORKS if SPECS[name].used(inference))


def planned_networks(inference: Inference) -> tuple[str, ...]:
    """The networks whose plans a prediction goes by: the chain, and what follows it if the plans take it."""
    return tuple(name for name in NETWORKS if name in STAGES or SPECS[name].used(inference))


def links_of(stage: str, hashes: Mapping[str, str]) -> dict[str, Any]:
    """What a checkpoint of `stage` says of the checkpoints (SHA-256 by stage) that it was trained on.

    Of the autoencoder alone its hash; of several, all that are there.
    """
    match SPECS[stage].built_on:
        case ():
            return {}
        case ("vqgan",):
            return {"vqgan_sha256": hashes[AUTOENCODER]}
        case several:
            return {"checkpoints": {name: hashes[name] for name in several if name in hashes}}


def resolve(place: str) -> Callable[..., Any]:
    """The function behind `module:function`."""
    function: Callable[..., Any] = pkgutil.resolve_name(place)
    return function

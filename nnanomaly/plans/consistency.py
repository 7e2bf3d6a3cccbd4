"""Whether the parts of the plans fit each other."""

from nnanomaly.plans.checks import require
from nnanomaly.plans.choices import FIXED_CODECS, SAMPLERS_OF
from nnanomaly.plans.diffusion import DiffusionPlan
from nnanomaly.plans.inference import InferencePlan
from nnanomaly.plans.vqgan import VQGANPlan


def require_fitting_codec(vqgan: VQGANPlan, ddpm: DiffusionPlan, inference: InferencePlan) -> None:
    """Refuse, in one line, everything that does not fit the codec."""
    codec, wanted, found = vqgan.codec, dict[str, object](), dict[str, object]()
    if codec in FIXED_CODECS:
        stride, channels = FIXED_CODECS[codec]
        wanted = {"vqgan.stride": (stride,) * 3, "vqgan.latent_channels": channels}
        found = {"vqgan.stride": vqgan.stride, "vqgan.latent_channels": vqgan.latent_channels}
    if codec != "vq":  # the others have no codes to snap to, and none that span a range
        wanted |= {"inference.quantise": False, "ddpm.latent_scaling": "standardise"}
        found |= {"inference.quantise": inference.quantise, "ddpm.latent_scaling": ddpm.latent_scaling}
    wrong = [name for name, value in wanted.items() if found[name] != value]
    rule = "; ".join(f"{name} must be {wanted[name]!r}, not {found[name]!r}" for name in wrong)
    require(not wrong, "vqgan.codec", codec, rule)


def require_fitting_inference(inference: InferencePlan, ddpm: DiffusionPlan) -> None:
    """Refuse what the diffusion model cannot do, or was not trained for."""
    samplers = SAMPLERS_OF[ddpm.process]
    require(inference.sampler in samplers, "sampler", inference.sampler, f"{ddpm.process} needs {samplers}")
    trained_for = ddpm.max_sigma if ddpm.process == "edm" else float("inf")
    highest = max(inference.sigmas)
    require(
        highest <= trained_for,
        "inference.sigma" if highest == inference.sigma else "inference.extra_sigmas",
        highest,
        f"the diffusion model is trained for noise levels up to ddpm.max_sigma = {trained_for:g} only",
    )
    require(
        inference.inpaint_rounds == 0 or ddpm.process == "edm",
        "inference.inpaint_rounds",
        inference.inpaint_rounds,
        f"must be 0 where ddpm.process is {ddpm.process}: only edm inpaints",
    )
    dropout = ddpm.class_dropout
    require(
        (inference.guidance == "free") == (dropout > 0),
        "guidance",
        inference.guidance,
        f"ddpm.class_dropout is {dropout:g}: `free` and a class_dropout above 0 (usually 0.15) need each other",
    )


def require_fitting_latents(latent: tuple[int, int, int], ddpm: DiffusionPlan) -> None:
    """Refuse a U-Net whose levels do not fit the latents (z, y, x), or that attends on levels it has not."""
    levels = ddpm.downsampling
    halved = latent[1:] if ddpm.architecture == "factorised" else latent  # which keeps the depth
    divisible = all(size % levels == 0 for size in halved)
    require(divisible, "latent shape", latent, f"must be divisible by {levels}")
    attended = max(ddpm.attention_levels, default=0)
    levels_rule = f"there are only the levels 0 to {len(ddpm.widths) - 1}"
    require(attended < len(ddpm.widths), "attention_levels", ddpm.attention_levels, levels_rule)

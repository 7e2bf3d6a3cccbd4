"""Diffusion as pure functions: schedules, denoisers, samplers, guidance, noise and codecs.

The package knows torch and nothing else of ours. Two coordinate systems are used, and every function says which:

* VP (variance preserving): `x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps`, level = time `t` of a `NoiseSchedule`;
* VE (variance exploding): `x = x0 + sigma eps`, level = `sigma`.

They differ by the factor `sqrt(abar_t)` with `sigma = sqrt((1 - abar_t) / abar_t)`. The clean image is `sigma = 0` in
both and is not a time of any schedule. Inside, each on those before it: `schedule` (tables and grids of levels),
`noise` (one generator per item), `denoiser` (network -> `Denoised`, and the losses), `process` (all in which EDM and
VP differ), `samplers` (Heun, DDIM, DDPM), `guidance` (`Denoiser -> Denoiser`), `inpainting`; and apart from them
`codecs` (image <-> representation).
"""

"""Diffusion as pure functions: schedules, denoisers, samplers, guidance, noise and codecs.

The package knows torch and nothing else of ours. Two coordinate systems are used, and every function says which:

* VP (variance preserving): `x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps`, level = time `t` of a `NoiseSchedule`;
* VE (variance exploding): `x = x0 + sigma eps`, level = `sigma`.

They differ by the factor `sqrt(abar_t)` with `sigma = sqrt((1 - abar_t) / abar_t)`. The clean image is `sigma = 0` in
both and is not a time of any schedule. Inside: `schedule` (tables and grids of levels), `denoiser` (network ->
`Prediction`), `samplers` (DDIM, DDPM, Heun), `guidance` (`Denoiser -> Denoiser`), `noise` (one generator per item) and
`codecs` (image <-> representation).
"""

"""nnanomaly: self-configuring, weakly supervised lesion detection in CT by latent diffusion."""

__version__ = "0.1.0"

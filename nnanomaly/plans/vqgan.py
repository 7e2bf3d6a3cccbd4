"""The plan of the autoencoder, and of what it must keep."""

from dataclasses import dataclass, field

from nnanomaly.plans.checks import require, require_limits
from nnanomaly.plans.choices import FIXED_CODECS, Autoencoder, Codec, DiscriminatorNorm, Perceptual
from nnanomaly.plans.declarations import ONLY_TRAINING, YOUNGER
from nnanomaly.plans.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePlan:
    """What the autoencoder must keep of held-out organs before another stage is trained on it; 0 = no limit.

    What PSNR, SSIM, error and details can reach depends on the noise of the scanner; the share of a lesion's contrast
    does not.
    """

    min_psnr_db: float = 0.0
    """Smallest peak signal-to-noise ratio over the window."""
    min_ssim: float = 0.0
    """Smallest structural similarity."""
    max_mae_hu: float = 0.0
    """Largest mean absolute error in the organ."""
    min_high_band_ratio: float = 0.0
    """Smallest energy of the finest details, as a share of that in the patch."""
    diameters_mm: tuple[float, ...] = (5.0, 10.0, 20.0)
    """Spheres that are inserted into healthy organs."""
    contrast_hu: float = 60.0
    """HU that half of them add and the other half takes away."""
    min_contrast_retention: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Smallest share of that contrast that is left after the autoencoder, for each diameter."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
        limits = self.min_contrast_retention
        require(
            len(limits) == len(self.diameters_mm),
            "min_contrast_retention",
            limits,
            f"needs a share in [0, 1) for each of {self.diameters_mm} mm; 0 = no limit",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VQGANPlan:
    """The autoencoder: patches to latents."""

    architecture: Autoencoder
    """`resize` (nearest upsampling and convolution) or `transposed` (the paper's)."""
    stride: tuple[int, int, int]
    """Downsampling per axis, powers of two."""
    latent_channels: int
    """Channels of a latent, the length of a code."""
    num_codes: int
    """Size of the codebook."""
    widths: tuple[int, ...]
    """Channels per resolution, finest first; one more than the number of halvings."""
    training: TrainingPlan = field(metadata=ONLY_TRAINING)
    """Optimisation of encoder, decoder and codebook."""
    codebook_decay: float = 0.99
    """Decay of the moving averages that are the codebook."""
    commitment_weight: float = 0.25
    """Weight of the distance between encoder output and code."""
    reconstruction_weight: float = 4.0
    """Weight of the mean absolute error."""
    restart_every: int = 100
    """Steps between restarts of unused codes; 1 = every step, as published."""
    perceptual: Perceptual = "wavelet"
    """`none`, `wavelet` (Haar high bands) or `lpips` (needs local weights)."""
    perceptual_weight: float = 1.0
    """Weight of the perceptual term."""
    perceptual_file: str = ""
    """Local safetensors file with LPIPS weights, for `lpips` alone; nothing is ever downloaded."""
    discriminator_start: int = 10_000
    """Iteration from which the generator feels the discriminators."""
    discriminator_learning_rate: float = 1e-4
    """Learning rate of both discriminators."""
    adversarial_weight: float = 1.0
    """Weight of the adversarial term once it is on; 0 = no discriminators are built."""
    feature_matching_weight: float = 4.0
    """Weight of the distance between discriminator features of real and reconstructed patches."""
    discriminator_norm: DiscriminatorNorm = "group"
    """`group` or `batch` (as published)."""
    codec: Codec = field(default="vq", metadata=YOUNGER)
    """`vq` (codebook), `kl` (Gaussian latents), `haar` (wavelet bands) or `identity`; the last two learn nothing."""
    kl_weight: float = field(default=1e-6, metadata=YOUNGER)
    """Weight of the divergence, in nats per patch, of the latents from unit Gaussians (kl only)."""
    gate: GatePlan = field(default=GatePlan(), metadata=ONLY_TRAINING)
    """What it must keep before the other stages are trained on its latents."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_limits(self)
        require(all(s >= 1 and s & (s - 1) == 0 for s in self.stride), "stride", self.stride, "must be powers of two")
        halvings = max(self.stride).bit_length() - 1
        require(
            self.codec in FIXED_CODECS or len(self.widths) == halvings + 1,
            "widths",
            self.widths,
            f"needs {halvings + 1} entries for {self.stride}",
        )

    def latent_shape(self, patch_size: tuple[int, int, int]) -> tuple[int, int, int]:
        """Voxels of the latent of a patch."""
        require(
            all(p % s == 0 for p, s in zip(patch_size, self.stride, strict=True)),
            "patch_size",
            patch_size,
            f"must be divisible by the VQ-GAN's stride {self.stride}",
        )
        z, y, x = (p // s for p, s in zip(patch_size, self.stride, strict=True))
        return z, y, x

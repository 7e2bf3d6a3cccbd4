"""LPIPS on slices from weights the user has at hand (METHOD 1.4 and 1.6; Zhang et al. 2018).

Nothing is ever downloaded. The weights are one mapping of tensors: VGG16's convolutions under torchvision's names
(`features.0.weight`, ...) and the five linear heads under LPIPS' own (`lin0.model.1.weight`, ...). The file is opened
by the caller.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nnanomaly.utilities.errors import EnvironmentFault

# Numbers of VGG16's convolutions in torchvision's `features`, per stage; all but the first begin with a max-pool.
STAGES = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
# LPIPS' standardisation of RGB in [-1, 1].
RGB_MEAN = (-0.030, -0.088, -0.188)
RGB_STD = (0.458, 0.448, 0.450)
FLOOR = 1e-10


def expected_weights() -> list[str]:
    """Names of the tensors that LPIPS needs."""
    backbone = [f"features.{number}.{kind}" for stage in STAGES for number in stage for kind in ("weight", "bias")]
    return backbone + [f"lin{stage}.model.1.weight" for stage in range(len(STAGES))]


class LPIPS(nn.Module):
    """Distance of two slices as seen by a frozen VGG16: sum_l mean_s w_l . (f_l(x)/|f_l(x)| - f_l(y)/|f_l(y)|)^2.

    The weights are buffers, so neither an optimiser nor `train()` can touch them; LPIPS has dropout in training, this
    has none.
    """

    def __init__(self, weights: Mapping[str, Tensor], *, source: str) -> None:
        """`source`: where the weights come from, for the message when some are missing."""
        super().__init__()
        missing = [name for name in expected_weights() if name not in weights]
        if missing:
            raise EnvironmentFault(
                "ENV-LPIPS",
                f"{source} holds no LPIPS weights: {len(missing)} of {len(expected_weights())} tensors are missing, "
                f"first {missing[0]!r}. Merge torchvision's VGG16 and LPIPS' linear heads into one state dict,"
                " or set perceptual to 'wavelet' in the plans file",
            )
        for name in expected_weights():
            self.register_buffer(name.replace(".", "_"), weights[name].detach().float().clone())
        self.register_buffer("mean", torch.tensor(RGB_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(RGB_STD).view(1, 3, 1, 1))

    def features(self, x: Tensor) -> list[Tensor]:
        """Activations at the end of the five stages, unit length over channels: [B, 1 or 3, H, W] in [-1, 1]."""
        h = (x.expand(-1, 3, -1, -1) - self.get_buffer("mean")) / self.get_buffer("std")
        outputs = []
        for stage, numbers in enumerate(STAGES):
            h = F.max_pool2d(h, 2) if stage else h
            for number in numbers:
                weight, bias = (self.get_buffer(f"features_{number}_{kind}") for kind in ("weight", "bias"))
                h = F.relu(F.conv2d(h, weight, bias, padding=1))
            outputs.append(h / (h.square().sum(1, keepdim=True).sqrt() + FLOOR))
        return outputs

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Mean distance over the batch: [B, 1, H, W] in [-1, 1] twice, at least 16 pixels an axis -> scalar."""
        pairs = zip(self.features(x), self.features(y), strict=True)
        heads = (self.get_buffer(f"lin{stage}_model_1_weight") for stage in range(len(STAGES)))
        terms = [F.conv2d((a - b).square(), head).mean() for (a, b), head in zip(pairs, heads, strict=True)]
        return torch.stack(terms).sum()

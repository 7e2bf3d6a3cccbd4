"""Codebook of a VQ-GAN, learnt by exponential moving averages, with restart of unused codes (METHOD 1.3).

Legend: B batch, C channels of a latent, S voxels of a latent, N tokens (B * S), K codes. Distances are computed in fp32
outside autocast (in bf16 5 % of the assignments would differ) and in chunks, so that memory does not grow with N * K.
Everything random is drawn from the generator that is handed in; all state lies in buffers, so that a resumed run
equals an unbroken one.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

COUNT_FLOOR = 1e-7
RESTART_BELOW = 1.0
INIT_NOISE = 0.01
# Scores (token, code) held at once: 8 MB on a CPU, so that they stay in its cache; 512 MB on a GPU, to fill it.
CHUNK_SCORES = {"cpu": 2**21}
CHUNK_SCORES_DEVICE = 2**27


def tokens(z: Tensor) -> Tensor:
    """[B, C, *S] -> [N, C] in fp32."""
    return z.detach().float().movedim(1, -1).reshape(-1, z.shape[1])


def nearest_code(z: Tensor, codes: Tensor, *, chunk_scores: int) -> Tensor:
    """argmin_k |z_n - e_k|^2, the lowest k of equals: [N, C], [K, C] -> [N] int64.

    At most `chunk_scores` scores exist at once. |z|^2 is the same for all codes, so the scores are |e|^2 - 2 z.e; both
    are shifted by the mean code, which changes no distance and saves the digits a common offset would cost.
    """
    centre = codes.mean(0)
    centred = codes - centre
    weights = torch.cat([-2 * centred, centred.square().sum(1, keepdim=True)], dim=1).t().contiguous()  # [C + 1, K]
    points = torch.cat([z - centre, torch.ones_like(z[:, :1])], dim=1)  # [N, C + 1]
    # A minimum is vectorised, an argmin is not: find the group of codes that holds the minimum, then look into it.
    group = math.gcd(len(codes), 128)
    rows = max(1, chunk_scores // len(codes))
    buffer = z.new_empty(min(rows, len(z)), len(codes))
    indices = []
    for part in torch.split(points, rows):
        scores = torch.mm(part, weights, out=buffer[: len(part)]).view(len(part), -1, group)  # [n, K / group, group]
        best = scores.amin(2).argmin(1)
        inside = scores[torch.arange(len(part), device=z.device), best].argmin(1)
        indices.append(best * group + inside)
    return torch.cat(indices)


def batch_statistics(z: Tensor, indices: Tensor, num_codes: int) -> tuple[Tensor, Tensor]:
    """n_k and sum of the z_n with k(n) = k: [N, C], [N] -> [K], [K, C]. Over several processes both just add up."""
    counts = torch.bincount(indices, minlength=num_codes).float()
    sums = torch.zeros(num_codes, z.shape[1], device=z.device).index_add_(0, indices, z)
    return counts, sums


def perplexity(indices: Tensor, num_codes: int) -> Tensor:
    """exp of the entropy of the code usage, 1..K: [...] int64 -> scalar. K if all codes are used equally often."""
    share = torch.bincount(indices.flatten(), minlength=num_codes).float() / indices.numel()
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp()


def straight_through(z: Tensor, z_q: Tensor) -> Tensor:
    """The value of z_q with the gradient of z: z + sg(z_q - z)."""
    return z + (z_q - z).detach()


@contextmanager
def _exact_products() -> Iterator[None]:
    """Matrix products in true fp32, whatever faster format the caller has allowed."""
    allowed = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(allowed)


class Codebook(nn.Module):
    """K codes of C channels; `initialise` once, then `quantise` and, in training, `update` per batch."""

    codes: Tensor
    counts: Tensor
    sums: Tensor
    initialised: Tensor
    updates: Tensor

    def __init__(self, num_codes: int, channels: int, *, decay: float = 0.99, restart_every: int = 100) -> None:
        super().__init__()
        self.num_codes, self.channels, self.decay, self.restart_every = num_codes, channels, decay, restart_every
        self.register_buffer("codes", torch.zeros(num_codes, channels))  # e_k
        self.register_buffer("counts", torch.zeros(num_codes))  # N_k
        self.register_buffer("sums", torch.zeros(num_codes, channels))  # m_k
        self.register_buffer("initialised", torch.tensor(False))
        self.register_buffer("updates", torch.tensor(0))

    @torch.no_grad()
    def assign(self, z: Tensor, *, chunk_scores: int | None = None) -> Tensor:
        """Index of the nearest code: [N, C] -> [N] int64; the chunk size changes speed and memory only."""
        chunk = chunk_scores or CHUNK_SCORES.get(z.device.type, CHUNK_SCORES_DEVICE)
        with torch.autocast(z.device.type, enabled=False), _exact_products():
            return nearest_code(z.float(), self.codes.float(), chunk_scores=chunk)

    def lookup(self, indices: Tensor) -> Tensor:
        """Codes of the indices: [B, *S] int64 -> [B, C, *S]."""
        return self.codes[indices].movedim(-1, 1)

    @torch.no_grad()
    def quantise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest codes and their indices: [B, C, *S] -> [B, C, *S] fp32 without gradient, [B, *S] int64."""
        indices = self.assign(tokens(z)).view(len(z), *z.shape[2:])
        return self.lookup(indices), indices

    @torch.no_grad()
    def initialise(self, z: Tensor, generator: torch.Generator) -> None:
        """On the first call, codes := random tokens of z [B, C, *S], N_k := 1; afterwards nothing."""
        if not self.initialised:
            everything = torch.ones(self.num_codes, dtype=torch.bool, device=self.codes.device)
            self._replace(everything, tokens(z), generator)
            self.initialised.fill_(True)

    @torch.no_grad()
    def update(self, z: Tensor, indices: Tensor, *, generator: torch.Generator) -> None:
        """One step of the moving averages with a batch z [B, C, *S] and its indices [B, *S]; restarts when it is time.

        N_k <- d N_k + (1-d) n_k; m_k <- d m_k + (1-d) sum z_n; e_k = m_k / Ntilde_k, where
        Ntilde_k = (N_k + 1e-7) / (sum N + K 1e-7) * sum N.
        """
        flat = tokens(z)
        counts, sums = batch_statistics(flat, indices.flatten(), self.num_codes)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + COUNT_FLOOR) / (total + self.num_codes * COUNT_FLOOR) * total
        self.codes.copy_(self.sums / smoothed[:, None])
        self.updates += 1
        if self.updates % self.restart_every == 0:
            self._replace(self.counts < RESTART_BELOW, flat, generator)

    def _replace(self, which: Tensor, flat: Tensor, generator: torch.Generator) -> None:
        """e_k := a random token, m_k := e_k, N_k := 1 for the codes `which` [K]; a token twice gets a little noise."""
        wanted = int(which.sum())
        order = torch.randperm(len(flat), generator=generator, device=generator.device)
        noise = torch.randn(wanted, self.channels, generator=generator, device=generator.device).to(flat.device)
        chosen = order.repeat(-(-wanted // len(flat)))[:wanted].to(flat.device)
        repeated = (torch.arange(wanted, device=flat.device) >= len(flat))[:, None]
        fresh = flat[chosen] + repeated * noise * (INIT_NOISE / math.sqrt(self.channels))
        self.codes[which], self.sums[which], self.counts[which] = fresh, fresh, 1.0

import copy

import pytest
import torch
from torch import Tensor

from nnanomaly.networks.codebook import Codebook, batch_statistics, nearest_code, perplexity, straight_through, tokens


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def latents(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def dense_assignment(z: Tensor, codes: Tensor) -> Tensor:
    """All distances at once, in double precision, by their definition."""
    return (z.double()[:, None] - codes.double()[None]).square().sum(2).argmin(1)


def started(num_codes: int, channels: int, z: Tensor, **settings: int) -> Codebook:
    codebook = Codebook(num_codes, channels, **settings)
    codebook.initialise(z, seeded(1))
    return codebook


@pytest.mark.parametrize("num_codes", [1024, 1000, 37])
def test_chunked_assignment_is_the_dense_one(num_codes: int) -> None:
    z, codes = latents(1500, 8), latents(num_codes, 8, seed=1)
    expected = dense_assignment(z, codes)
    for chunk_scores in (1, 7 * num_codes, 2**30):
        torch.testing.assert_close(nearest_code(z, codes, chunk_scores=chunk_scores), expected)


def test_assignment_survives_a_large_common_offset() -> None:
    z, codes = latents(500, 8) + 1000, latents(256, 8, seed=1) + 1000
    torch.testing.assert_close(nearest_code(z, codes, chunk_scores=4096), dense_assignment(z, codes))


def test_equal_codes_give_the_lowest_index() -> None:
    codes = torch.tensor([[5.0, 5.0], [1.0, 0.0], [1.0, 0.0]]).repeat(100, 1)
    assert nearest_code(torch.tensor([[1.0, 0.1]]), codes, chunk_scores=10**6).tolist() == [1]


def test_bf16_autocast_and_fast_matrix_products_do_not_change_assignments() -> None:
    z = latents(2, 8, 10, 10, 10)
    codebook = started(1024, 8, latents(4, 8, 8, 8, 8, seed=2))
    _, expected = codebook.quantise(z)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            _, indices = codebook.quantise(z)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    torch.testing.assert_close(indices, expected)
    in_bf16 = (z.bfloat16().float() != z).any()
    assert in_bf16  # the inputs do lose digits in bf16, so the comparison above could fail


def test_quantise_keeps_positions() -> None:
    codebook = Codebook(2, 2)
    codebook.codes.copy_(torch.tensor([[0.0, 0.0], [1.0, 2.0]]))
    z = torch.zeros(1, 2, 1, 2, 3)
    z[0, :, 0, 1, 2] = torch.tensor([0.9, 1.8])
    z_q, indices = codebook.quantise(z)
    assert indices.tolist() == [[[[0, 0, 0], [0, 0, 1]]]]
    assert z_q[0, :, 0, 1, 2].tolist() == [1.0, 2.0]
    assert z_q.abs().sum() == 3.0


def test_straight_through_has_the_value_of_the_code_and_the_gradient_of_the_latent() -> None:
    z = latents(1, 4, 2, 2, 2).requires_grad_()
    z_q = torch.round(z.detach())
    quantised = straight_through(z, z_q)
    torch.testing.assert_close(quantised, z_q)
    (3 * quantised).sum().backward()
    torch.testing.assert_close(z.grad, torch.full_like(z, 3.0))


def test_batch_statistics_count_and_sum_per_code() -> None:
    z = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    counts, sums = batch_statistics(z, torch.tensor([2, 0, 2]), 4)
    assert counts.tolist() == [1, 0, 2, 0]
    assert sums.tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]


def test_statistics_of_two_halves_add_up_to_those_of_the_whole() -> None:
    z, indices = latents(100, 3), torch.randint(0, 8, (100,), generator=seeded())
    whole = batch_statistics(z, indices, 8)
    halves = [batch_statistics(z[part], indices[part], 8) for part in (slice(0, 50), slice(50, 100))]
    for total, one, other in zip(whole, *halves, strict=True):
        torch.testing.assert_close(total, one + other)


def test_initialisation_takes_different_tokens_and_happens_once() -> None:
    z = latents(1, 4, 6, 6, 6)
    codebook = started(64, 4, z)
    nearest = (codebook.codes[:, None] - tokens(z)[None]).abs().sum(2).min(1)
    assert nearest.values.max() == 0 and len(nearest.indices.unique()) == 64
    assert codebook.initialised and (codebook.counts == 1).all() and torch.equal(codebook.sums, codebook.codes)
    before = codebook.codes.clone()
    codebook.initialise(latents(1, 4, 6, 6, 6, seed=5), seeded(6))
    assert torch.equal(codebook.codes, before)


def test_too_few_tokens_are_repeated_with_little_noise() -> None:
    z = latents(1, 4, 1, 1, 3)
    codebook = started(8, 4, z)
    distance = (codebook.codes[:, None] - tokens(z)[None]).norm(dim=2).min(1).values
    assert (distance[:3] == 0).all() and (distance[3:] > 0).all() and distance.max() < 0.05
    assert len(codebook.codes.unique(dim=0)) == 8


def test_update_follows_the_moving_average() -> None:
    codebook = Codebook(2, 1, decay=0.9)
    codebook.codes.copy_(torch.tensor([[0.0], [10.0]]))
    codebook.sums.copy_(torch.tensor([[0.0], [20.0]]))
    codebook.counts.copy_(torch.tensor([4.0, 2.0]))
    z = torch.tensor([1.0, 1.0, 4.0]).view(1, 1, 1, 1, 3)
    codebook.update(z, torch.tensor([[[[0, 0, 1]]]]), generator=seeded())
    torch.testing.assert_close(codebook.counts, torch.tensor([0.9 * 4 + 0.1 * 2, 0.9 * 2 + 0.1 * 1]))
    torch.testing.assert_close(codebook.sums, torch.tensor([[0.1 * 2], [0.9 * 20 + 0.1 * 4]]))
    torch.testing.assert_close(codebook.codes, torch.tensor([[0.2 / 3.8], [18.4 / 1.9]]), rtol=1e-5, atol=0)


def test_an_unused_code_is_restarted_with_its_state() -> None:
    codebook = Codebook(2, 1, restart_every=3)
    codebook.codes.copy_(torch.tensor([[0.0], [50.0]]))
    codebook.counts.copy_(torch.tensor([5.0, 0.9]))
    codebook.sums.copy_(torch.tensor([[0.0], [45.0]]))
    z = torch.linspace(-1, 1, 64).view(1, 1, 4, 4, 4)
    zeros = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    for _ in range(2):
        codebook.update(z, zeros, generator=seeded())
        assert codebook.codes[1] > 40, "restarts come every third update only"
    codebook.update(z, zeros, generator=seeded())
    assert codebook.codes[1].abs() <= 1
    assert torch.equal(codebook.sums[1], codebook.codes[1]) and codebook.counts[1] == 1
    assert codebook.counts[0] > 1


def test_restart_keeps_more_than_half_of_the_codes_in_use_on_random_data() -> None:
    # Half of the codes start far away, where no token is nearest to them.
    codebook = Codebook(256, 8, restart_every=5)
    codebook.initialise(latents(1, 8, 10, 10, 10), seeded())
    codebook.codes[:128] += 100
    codebook.sums.copy_(codebook.codes)
    generator = seeded(3)
    for step in range(40):
        z = latents(1, 8, 10, 10, 10, seed=step)
        _, indices = codebook.quantise(z)
        codebook.update(z, indices, generator=generator)
    _, indices = codebook.quantise(latents(1, 8, 10, 10, 10, seed=99))
    assert len(indices.unique()) > 0.5 * 256


def test_a_loaded_codebook_continues_bit_for_bit_through_a_restart() -> None:
    codebook = started(64, 8, latents(1, 8, 5, 5, 5), restart_every=2)
    generator = seeded(7)

    def step(book: Codebook, seed: int, draws: torch.Generator) -> None:
        z = latents(1, 8, 5, 5, 5, seed=seed)
        book.update(z, book.quantise(z)[1], generator=draws)

    step(codebook, 1, generator)
    saved, saved_generator = copy.deepcopy(codebook.state_dict()), generator.get_state()
    resumed, draws = Codebook(64, 8, restart_every=2), seeded()
    resumed.load_state_dict(saved)
    draws.set_state(saved_generator)
    resumed.initialise(latents(1, 8, 5, 5, 5, seed=50), seeded(51))
    for book, generators in ((codebook, generator), (resumed, draws)):
        step(book, 2, generators)
    for name, value in codebook.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
    assert not torch.equal(saved["codes"], codebook.codes)


def test_perplexity_counts_equally_used_codes() -> None:
    torch.testing.assert_close(perplexity(torch.tensor([0, 1, 2, 3]), 16), torch.tensor(4.0))
    torch.testing.assert_close(perplexity(torch.zeros(2, 3, dtype=torch.int64), 16), torch.tensor(1.0))

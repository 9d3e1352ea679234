"""The sampled softmax whose gradient is worked out by hand, against autograd; the draw."""

import numpy as np
import pytest
import torch

from models.nn.softmax import Draw, matches, softmax_loss


@pytest.mark.parametrize("targets", [1, 5, 700])
def test_loss_and_gradients_are_those_of_autograd(targets: int) -> None:
    """700 targets against 300 drawn items are worked on in slices."""
    random = torch.Generator().manual_seed(0)
    random_np = np.random.default_rng(0)
    drawn_S = np.sort(random_np.choice(1000, 300, replace=False))
    target_T = np.where(random_np.random(targets) < 0.5, random_np.choice(drawn_S, targets), 1001)
    tensors = [
        torch.randn(*shape, generator=random).requires_grad_()
        for shape in ((targets, 3), (targets, 8), (300, 8), (300,))
    ]
    given, state, drawn, bias = tensors
    loss = softmax_loss(given, state, drawn, bias, matches(target_T, drawn_S))
    by_hand = torch.autograd.grad(2 * loss, tensors)

    own = torch.from_numpy(target_T[:, None] == drawn_S)
    logit = torch.cat([given, (state @ drawn.T + bias).masked_fill(own, -torch.inf)], dim=1)
    plain = (logit.logsumexp(1) - given[:, 0]).mean()
    assert loss.item() == pytest.approx(plain.item(), rel=1e-5)
    for one, other in zip(by_hand, torch.autograd.grad(2 * plain, tensors), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_matches_name_targets_that_were_drawn_and_where() -> None:
    assert matches(np.array([7, 2, 9, 2]), np.array([2, 5, 7])).tolist() == [[0, 2], [1, 0], [3, 0]]


def test_draw_follows_the_power_of_the_count() -> None:
    draw = Draw(np.array([0, 1, 4, 9]), 0.5)
    np.testing.assert_allclose(draw.chance_I, [0, 1 / 6, 2 / 6, 3 / 6])
    item_S, times_S = draw(6000, np.random.default_rng(0))
    assert item_S.tolist() == [1, 2, 3]
    np.testing.assert_allclose(times_S / 6000, [1 / 6, 2 / 6, 3 / 6], atol=0.03)
    np.testing.assert_allclose(draw.expected(np.array([1, 3]), 12), np.log([2, 6]), rtol=1e-6)


def test_draw_of_power_zero_takes_all_alike() -> None:
    np.testing.assert_allclose(Draw(np.array([0, 1, 4, 9]), 0.0).chance_I, [0.25] * 4)

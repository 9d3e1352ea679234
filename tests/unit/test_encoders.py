"""Networks of sequences, part by part: encoders, dropout, rows of Adam, the repeat term, first embeddings."""

import numpy as np
import pytest
import torch
from torch import nn

from models.nn import start
from models.nn.dropout import ByteDropout
from models.nn.encoder import Encoder
from models.nn.learner import curve, initialise
from models.nn.recurrent import Recurrent
from models.nn.repeat import Repeat, own_logits, same
from models.nn.rows import RowAdam
from tests.shop_data import interactions

ENCODERS = {
    "transformer": lambda: Encoder(length=6, width=8, blocks=2, heads=2),
    "gru": lambda: Recurrent("gru", width=8, memory=5, layers=2),
    "lstm": lambda: Recurrent("lstm", width=8, memory=5, layers=1),
}


def made(name: str) -> nn.Module:
    encoder = ENCODERS[name]()
    initialise(encoder, 0)
    return encoder


# encoders


@pytest.mark.parametrize("name", ENCODERS)
def test_a_position_does_not_see_what_comes_after(name: str) -> None:
    encoder = made(name)
    x_BLD = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    changed = x_BLD.clone()
    changed[0, 4:] = 9.0
    torch.testing.assert_close(encoder(x_BLD)[0, :4], encoder(changed)[0, :4])
    assert not torch.allclose(encoder(x_BLD)[0, 4:], encoder(changed)[0, 4:])


@pytest.mark.parametrize("name", ENCODERS)
def test_the_order_of_what_came_before_counts(name: str) -> None:
    encoder = made(name)
    random = torch.Generator().manual_seed(2)
    for parameter in encoder.parameters():
        nn.init.normal_(parameter, std=0.5, generator=random)
    x_BLD = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    other = x_BLD[:, [1, 0, 2, 3, 4, 5]]
    assert not torch.allclose(encoder(x_BLD)[0, 5], encoder(other)[0, 5], atol=1e-4)


@pytest.mark.parametrize("name", ENCODERS)
def test_first_weights_come_from_the_seed_alone(name: str) -> None:
    torch.manual_seed(3)
    one = made(name).state_dict()
    torch.manual_seed(4)
    other = made(name).state_dict()
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_lag_that_is_preferred_is_what_a_position_looks_at() -> None:
    encoder = Encoder(length=3, width=4, blocks=1, heads=1)
    initialise(encoder, 0)
    block = encoder.blocks[0]
    with torch.no_grad():
        block.lag.copy_(torch.tensor([[0.0, 50.0, 0.0]]))
    x_BLD = torch.randn(1, 3, 4, generator=torch.Generator().manual_seed(1))
    changed = x_BLD.clone()
    changed[0, 0] = 3.0
    torch.testing.assert_close(encoder(x_BLD)[0, 2], encoder(changed)[0, 2])
    assert not torch.allclose(encoder(x_BLD)[0, 1], encoder(changed)[0, 1])


def test_dropout_keeps_the_mean_and_is_drawn_by_seed() -> None:
    x = torch.ones(200, 500)
    one, again = ByteDropout(0.25, 7)(x), ByteDropout(0.25, 7)(x)
    torch.testing.assert_close(one, again)
    assert (one == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert one.mean().item() == pytest.approx(1.0, abs=0.01)
    assert ByteDropout(0.0, 7)(x) is x


def test_dropout_of_one_call_is_not_that_of_the_next_and_fits_any_size() -> None:
    drop = ByteDropout(0.5, 0)
    assert not torch.equal(drop(torch.ones(1000)), drop(torch.ones(1000)))
    assert drop(torch.ones(3_000_000)).mean().item() == pytest.approx(1.0, abs=0.01)


# rows of Adam


def test_row_adam_moves_like_adam_when_every_row_is_touched() -> None:
    first = torch.arange(6.0).reshape(3, 2)
    table, expected = first.clone(), first.clone().requires_grad_()
    rows, adam = RowAdam([table], [0.1]), torch.optim.Adam([expected], lr=0.1, betas=(0.9, 0.98))
    for step in range(4):
        weight = torch.tensor([[1.0, -2.0], [0.5, 3.0], [0.1, 0.2]]) * (step + 1)
        leaves = rows.take(torch.arange(3))
        (leaves[0] * weight).sum().backward()
        rows.step(torch.arange(3), leaves)
        adam.zero_grad()
        (expected * weight).sum().backward()
        adam.step()
    torch.testing.assert_close(table, expected.detach(), rtol=1e-5, atol=1e-6)


def test_row_adam_leaves_other_rows_alone() -> None:
    table = torch.ones(4, 2)
    rows = RowAdam([table], [0.1])
    leaves = rows.take(torch.tensor([1, 3]))
    leaves[0].sum().backward()
    rows.step(torch.tensor([1, 3]), leaves)
    torch.testing.assert_close(table, torch.tensor([[1.0, 1.0], [0.9, 0.9], [1.0, 1.0], [0.9, 0.9]]))


# repeats


def test_same_marks_equal_items_and_the_first_of_each() -> None:
    same_BLL, first_BL = same(torch.tensor([[3, 5, 3, 3]]))
    assert same_BLL[0].tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]
    assert first_BL.tolist() == [[True, True, False, False]]


def test_repeats_fade_with_their_lag() -> None:
    repeat = Repeat(length=4, width=2)
    with torch.no_grad():
        repeat.log_decay.copy_(torch.log(torch.tensor([1.0, 0.5, 0.25, 0.125])))
    assert repeat.lags(3).tolist() == [[1, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]]
    torch.testing.assert_close(
        repeat(torch.ones(1, 2), torch.tensor([[1.25]])), torch.log(torch.tensor([[2.25]]))
    )


def test_own_items_stand_once_beside_the_target_and_later_ones_never() -> None:
    """A sequence of rows 0, 1, 0, 2, asked after position 2 for row 0 (taken at lags 0 and 2) and for row 3 (new)."""
    repeat = Repeat(length=4, width=2)
    with torch.no_grad():
        repeat.log_decay.zero_()
    given_TG = own_logits(
        repeat,
        torch.tensor([0.5, 0.25]),
        torch.tensor([[[0.0, 0.0, 0.0, 0.0]] * 2 + [[0.1, 0.2, 0.1, 0.4]] * 2]),
        torch.zeros(2, 2),
        item_BL=torch.tensor([[0, 1, 0, 2]]),
        at_T=torch.tensor([2, 2]),
        target_T=torch.tensor([0, 3]),
        expected_T=torch.tensor([-3.0, -4.0]),
    )
    never, two, three = -1e9, np.log(2), np.log(3)
    expected = [
        [0.5 + three, never, 0.2 + two, never, never],
        [0.25 + 4.0, 0.1 + three, 0.2 + two, never, never],
    ]
    torch.testing.assert_close(given_TG, torch.tensor(expected, dtype=torch.float32))


# first embeddings


def test_what_is_taken_near_each_other_starts_near_each_other() -> None:
    """Two groups of ten items; a person takes of one group only."""
    random = np.random.default_rng(0)
    person, item, time = [], [], []
    for someone in range(100):
        for day, took in enumerate(random.choice(10, 6, replace=False) + 10 * (someone % 2)):
            person.append(someone)
            item.append(int(took))
            time.append(day)
    known = interactions(person, item, time, people=100, items=21)
    embedding_ID = start.embeddings(known, 8, 0)
    assert embedding_ID.shape == (21, 8)
    assert embedding_ID.dtype == np.float32
    assert embedding_ID[:20].std() == pytest.approx(1.0, abs=0.1)
    unit_ID = embedding_ID / np.linalg.norm(embedding_ID, axis=1, keepdims=True)
    near_II = unit_ID @ unit_ID.T
    same_II = np.add.outer(np.arange(20) // 10, np.arange(20) // 10) != 1
    assert near_II[:20, :20][same_II].mean() > near_II[:20, :20][~same_II].mean() + 0.3
    np.testing.assert_array_equal(embedding_ID, start.embeddings(known, 8, 0))
    assert not np.array_equal(embedding_ID, start.embeddings(known, 8, 1))


def test_without_neighbours_embeddings_start_as_noise() -> None:
    lonely = interactions([0, 1, 2], [1, 1, 2], [1, 1, 1], people=3, items=400)
    assert start.embeddings(lonely, 8, 0).std() == pytest.approx(1.0, abs=0.1)


# the curve


def test_curve_tells_at_most_a_hundred_means() -> None:
    assert curve([]) == []
    assert curve([(1, 3.0), (4, 2.0)]) == [{"step": 1, "loss": 3.0}, {"step": 4, "loss": 2.0}]
    told = curve([(step + 1, float(step % 2)) for step in range(1000)])
    assert len(told) == 100
    assert told[0] == {"step": 10, "loss": 0.5}
    assert told[-1]["step"] == 1000

"""SASRec, part by part: windows and targets, rows of Adam, dropout, the repeat term, the loss, and what it learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from counterfoil.errors import ConfigError, IntegrityError
from models.data import DAY_US, TrainingSet
from models.families.sasrec import SasRecConfig
from models.nn import sasrec
from models.nn.encoder import ByteDropout, Encoder, initialise
from models.nn.repeat import Repeat, same
from models.nn.rows import RowAdam
from models.nn.sasrec import sampled_softmax
from models.nn.sequences import Sequences
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop

TINY = SasRecConfig(length=12, width=8, steps=20, negatives=8, batch=4)


def baskets() -> Sequences:
    """Person 0: baskets {1, 2}, {3}, {4, 5}; person 1: {6}, {7}; person 2: one thing only."""
    return Sequences(
        interactions(
            [0, 0, 0, 0, 0, 1, 1, 2], [1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 3, 3, 1, 2, 1], people=4, items=10
        ),
        length=4,
        ahead=1,
    )


# sequences


def test_targets_come_from_the_next_basket_of_the_same_person() -> None:
    sequences = baskets()
    assert sequences.next_N.tolist() == [2, 2, 3, 5, 5, 6, 7, 8]
    assert sequences.last_N.tolist() == [3, 3, 5, 5, 5, 7, 7, 8]
    farther = Sequences(
        interactions([0, 0, 0, 0], [1, 2, 3, 4], [1, 2, 3, 4], people=1, items=5), length=4, ahead=2
    )
    assert farther.last_N.tolist() == [3, 4, 4, 4]


def test_windows_cover_everybody_who_has_something_to_predict() -> None:
    sequences = baskets()
    random = np.random.default_rng(0)
    for _ in range(20):
        first_W = sequences.epoch(random)
        covered = {at for first in first_W for at in range(first, min(first + 4, sequences.stop_N[first]))}
        assert covered == {0, 1, 2, 3, 4, 5, 6}


def test_batches_pad_behind_and_never_reach_another_person() -> None:
    sequences = baskets()
    for batch in sequences.batches(2, 30, np.random.default_rng(1)):
        assert batch.item_BL.shape == (2, 4)
        rows = batch.at_T // 4
        for row, target in zip(rows, batch.target_T, strict=True):
            people = {0: {3, 4, 5}, 1: {7}}
            person = 1 if batch.item_BL[row, 0] in (6, 7) else 0
            assert target in people[person]
    lonely = Sequences(interactions([0, 1], [1, 2], [1, 1], people=2, items=3), length=4, ahead=1)
    assert list(lonely.batches(2, 5, np.random.default_rng(0))) == []


# rows of Adam


def test_row_adam_moves_like_adam_when_every_row_is_touched() -> None:
    start = torch.arange(6.0).reshape(3, 2)
    table, expected = start.clone(), start.clone().requires_grad_()
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


# the encoder


def test_dropout_keeps_the_mean_and_is_drawn_by_seed() -> None:
    x = torch.ones(200, 500)
    one, again = ByteDropout(0.25, 7)(x), ByteDropout(0.25, 7)(x)
    torch.testing.assert_close(one, again)
    assert (one == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert one.mean().item() == pytest.approx(1.0, abs=0.01)
    assert ByteDropout(0.0, 7)(x) is x


def test_a_position_does_not_see_what_comes_after() -> None:
    encoder = Encoder(length=6, width=8, blocks=2, heads=2)
    initialise(encoder, 0, scale=0.5)
    x_BLD = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(1))
    changed = x_BLD.clone()
    changed[0, 4:] = 9.0
    torch.testing.assert_close(encoder(x_BLD)[0, :4], encoder(changed)[0, :4])
    assert not torch.allclose(encoder(x_BLD)[0, 4:], encoder(changed)[0, 4:])


# repeats


def test_same_marks_equal_items_and_the_first_of_each() -> None:
    same_BLL, first_BL = same(torch.tensor([[3, 5, 3, 3]]))
    assert same_BLL[0].tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]
    assert first_BL.tolist() == [[True, True, False, False]]


def test_repeats_fade_with_their_lag() -> None:
    repeat = Repeat(length=4, width=2)
    repeat.initialise()
    with torch.no_grad():
        repeat.log_decay.copy_(torch.log(torch.tensor([1.0, 0.5, 0.25, 0.125])))
    assert repeat.lags(3).tolist() == [[1, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]]
    torch.testing.assert_close(
        repeat(torch.ones(1, 2), torch.tensor([[1.25]])), torch.log(torch.tensor([[2.25]]))
    )


def test_loss_is_the_softmax_over_own_and_drawn_items_by_hand() -> None:
    """One sequence (a, b, a) of rows 0, 1, 0, asked at its last position for row 2, with row 3 drawn; no repeats in the score."""
    repeat = Repeat(length=3, width=2)
    repeat.initialise()
    with torch.no_grad():
        repeat.gain.bias.zero_()
    embedding_UD = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, -1.0]])
    bias_U = torch.tensor([0.1, 0.2, 0.3, 0.4])
    expected_U = torch.tensor([-1.0, -2.0, -0.5, -0.25])
    state = torch.tensor([2.0, 1.0])
    loss = sampled_softmax(
        repeat,
        state.expand(1, 3, 2),
        embedding_UD,
        bias_U,
        expected_U,
        item_BL=torch.tensor([[0, 1, 0]]),
        at_T=torch.tensor([2]),
        target_T=torch.tensor([2]),
        drawn_S=torch.tensor([3, 2]),
    )
    own, target, drawn = [2.1, 1.2], 3.3 + 0.5, -1.0 + 0.4 + 0.25
    expected = np.log(np.exp([*own, target, drawn]).sum()) - target
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_loss_counts_a_target_of_the_own_sequence_once_and_repeats_lift_it() -> None:
    """Asked at the last position for row 0, which was taken at lags 0 and 2."""
    repeat = Repeat(length=3, width=2)
    repeat.initialise()
    with torch.no_grad():
        repeat.log_decay.zero_()
    loss = sampled_softmax(
        repeat,
        torch.zeros(1, 3, 2),
        torch.zeros(3, 2),
        torch.zeros(3),
        torch.tensor([-3.0, -3.0, -3.0]),
        item_BL=torch.tensor([[0, 1, 0]]),
        at_T=torch.tensor([2]),
        target_T=torch.tensor([0]),
        drawn_S=torch.tensor([2]),
    )
    # gain 1: the target's two repeats weigh log 3, row 1's one repeat log 2; the drawn one is corrected by e^3
    assert loss.item() == pytest.approx(np.log((3 + 2 + np.exp(3.0)) / 3), rel=1e-5)


# the family


def sequence_shop() -> TrainingSet:
    """Everybody walks the same ring of items, one a day, from another start: what comes next is certain."""
    person, item, time = [], [], []
    for someone in range(40):
        for day in range(30):
            person.append(someone)
            item.append((someone + day) % 15)
            time.append(START_US + day * DAY_US)
    return TrainingSet(
        interactions=interactions(person, item, time, people=40, items=16),
        until_us=START_US + 30 * DAY_US,
        horizon_us=7 * DAY_US,
        cutoffs={},
        features=no_features(40, 16),
    )


def test_learns_an_order_that_counts_cannot_know() -> None:
    training = sequence_shop()
    config = SasRecConfig(
        length=20, width=16, steps=250, negatives=15, batch=8, ahead=1, rate=1e-2, row_rate=2e-2, dropout=0.0
    )
    model = sasrec.fit(config, training, 0)
    answer = model.recommend(training.query(np.arange(40), training.until_us), 1)
    assert np.mean(answer.item_PK[:, 0] == (np.arange(40) + 30) % 15) > 0.9


def test_somebody_without_history_gets_the_prior() -> None:
    model = sasrec.fit(TINY, shop().training, 0)
    answer = model.recommend(shop().training.query(np.array([-1]), shop().training.until_us), 40)
    np.testing.assert_array_equal(answer.score_PK[0], np.sort(model.bias_I.numpy())[::-1][:40])


def test_nothing_to_learn_gives_the_prior() -> None:
    lonely = interactions([0, 1, 2], [1, 1, 2], [START_US] * 3, people=3, items=4)
    training = replace(sequence_shop(), interactions=lonely, features=no_features(3, 4))
    model = sasrec.fit(TINY, training, 0)
    answer = model.recommend(training.query(np.array([-1]), training.until_us), 4)
    assert answer.item_PK[0].tolist() == [1, 2, 0, 3]


def test_threads_do_not_change_the_bytes(tmp_path: Path) -> None:
    for threads in (1, 2):
        (tmp_path / str(threads)).mkdir()
        sasrec.fit(TINY, shop(threads=threads).training, 0).save(tmp_path / str(threads))
    one, two = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("1", "2"))
    assert one == two


def test_fit_leaves_torch_as_it_was() -> None:
    torch.manual_seed(5)
    before = (torch.get_num_threads(), torch.random.get_rng_state())
    sasrec.fit(TINY, shop().training, 0)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide a width of 8"):
        sasrec.fit(replace(TINY, heads=3), shop().training, 0)


@pytest.mark.parametrize("damage", ["cut", "missing"])
def test_broken_weights_are_refused(tmp_path: Path, damage: str) -> None:
    sasrec.fit(TINY, shop().training, 0).save(tmp_path)
    weights = tmp_path / "weights.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        weights.unlink()
    with pytest.raises(IntegrityError, match=r"weights\.safetensors cannot be read"):
        sasrec.load(tmp_path)

"""The families of sequences: what the data decide, and what each of them learns."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from counterfoil.errors import ConfigError, IntegrityError
from models.data import DAY_US, TrainingSet
from models.families import FAMILIES, config_from
from models.families.sasrec import SasRecConfig
from models.sequence import SequenceModel
from models.splits import no_features
from tests.shop_data import START_US, interactions, shop

TINY = {"length": 12, "width": 8, "epochs": 1.0, "negatives": 8, "positions": 64}
NAMES = ("sasrec", "gru4rec", "lstm")
each = pytest.mark.parametrize("name", NAMES)


def fitted(name: str, training: TrainingSet, seed: int = 0, **values: object) -> SequenceModel:
    model = FAMILIES[name].fit(config_from(name, {**TINY, **values}), training, seed)
    assert isinstance(model, SequenceModel)
    return model


def sequence_shop() -> TrainingSet:
    """Everybody walks the same ring of items, one a day, from another start: what comes next is certain."""
    person = np.repeat(np.arange(40), 30)
    day = np.tile(np.arange(30), 40)
    known = interactions(
        person.tolist(),
        ((person + day) % 15).tolist(),
        (START_US + day * DAY_US).tolist(),
        people=40,
        items=16,
    )
    return TrainingSet(
        interactions=known,
        until_us=START_US + 30 * DAY_US,
        horizon_us=7 * DAY_US,
        cutoffs={},
        features=no_features(40, 16),
    )


# what the data decide


def test_open_settings_follow_the_data() -> None:
    config = SasRecConfig().settled(sequence_shop())
    assert (config.length, config.ahead, config.repeats) == (30, 1, True)
    assert (config.epochs, config.positions) == (60.0, 72)  # 40 * 29 targets, a sixteenth of them a step
    assert config.dropout == 0.5
    assert (config.negatives, config.scale) == (512, 0.0)
    given = SasRecConfig(
        length=7, ahead=3, epochs=2.5, positions=9, dropout=0.0, repeats=False, negatives=5, scale=9.0
    )
    assert given.settled(sequence_shop()) == given


def test_sessions_are_told_apart_by_cosines() -> None:
    config = SasRecConfig().settled(replace(sequence_shop(), inner="sessions"))
    assert (config.negatives, config.scale) == (2048, 16.0)


def test_work_is_bounded_where_data_are_many_and_baskets_have_no_order() -> None:
    """2,000 people with 600 events each, three at a time: 1.2 million."""
    events = np.arange(600)
    known = interactions([], [], [], people=2000, items=10)
    known = replace(
        known,
        person_N=np.repeat(np.arange(2000, dtype=np.int32), 600),
        item_N=np.tile((events % 10).astype(np.int32), 2000),
        time_N=np.tile(events // 3, 2000),
        weight_N=np.ones(1_200_000, np.float32),
    )
    config = SasRecConfig().settled(replace(sequence_shop(), interactions=known, repeats=False))
    assert config.epochs == pytest.approx(1.5 / 1.198)
    assert config.dropout == 0.1
    assert (config.length, config.ahead, config.positions, config.repeats) == (200, 4, 1024, False)


# what they learn


@each
def test_learns_an_order_that_counts_cannot_know(name: str) -> None:
    training = sequence_shop()
    quick = {"epochs": 8.0, "positions": 128, "rate": 2e-2, "row_rate": 3e-2, "dropout": 0.0}
    model = fitted(name, training, width=16, **quick)
    answer = model.recommend(training.query(np.arange(40), training.until_us), 1)
    assert np.mean(answer.item_PK[:, 0] == (np.arange(40) + 30) % 15) > 0.9
    assert model.curve[-1]["loss"] < model.curve[0]["loss"] / 2


@each
def test_states_times_embeddings_are_the_scores_where_nothing_repeats(name: str) -> None:
    training = replace(shop().training, repeats=False)
    model = fitted(name, training)
    query = replace(training.query(np.arange(60), training.until_us), exclude=None)
    answer = model.recommend(query, 5)
    score_PI = model.encode(query.history) @ model.embedding_ID.T + model.bias_I
    np.testing.assert_allclose(
        answer.score_PK,
        np.take_along_axis(score_PI, answer.item_PK.astype(np.int64), 1),
        rtol=1e-4,
        atol=1e-5,
    )


@each
def test_with_a_scale_scores_are_cosines_and_learn_the_same(name: str) -> None:
    training = sequence_shop()
    quick = {"epochs": 8.0, "positions": 128, "rate": 2e-2, "row_rate": 3e-2, "dropout": 0.0}
    model = fitted(name, training, width=16, scale=12.0, **quick)
    query = training.query(np.arange(40), training.until_us)
    answer = model.recommend(query, 1)
    assert np.mean(answer.item_PK[:, 0] == (np.arange(40) + 30) % 15) > 0.9
    np.testing.assert_allclose(np.linalg.norm(model.encode(query.history), axis=1), 12.0, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(model.embedding_ID, axis=1), 1.0, rtol=1e-4)


def test_with_a_scale_what_is_popular_has_no_bias_but_for_strangers_and_what_came_later_is_last() -> None:
    training = replace(shop().training, repeats=False)
    model = fitted("gru4rec", training, scale=16.0)
    query = replace(training.query(np.array([0, -1]), training.until_us), exclude=None)
    answer = model.recommend(query, 40)
    cosine_I = model.encode(query.history)[0] @ model.embedding_ID.T
    np.testing.assert_allclose(answer.score_PK[0], np.sort(cosine_I)[::-1][:40], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(answer.score_PK[1], np.sort(model.bias_I)[::-1][:40])
    grown = replace(
        query,
        history=replace(query.history, items=query.items + 1),
        features=no_features(2, query.items + 1),
        allowed_I=None,
    )
    assert model.recommend(grown, query.items + 1).item_PK[:, -1].tolist() == [query.items] * 2


@each
def test_somebody_without_history_gets_the_prior(name: str) -> None:
    model = fitted(name, shop().training)
    answer = model.recommend(shop().training.query(np.array([-1]), shop().training.until_us), 40)
    np.testing.assert_array_equal(answer.score_PK[0], np.sort(model.bias_I)[::-1][:40])


@each
def test_nothing_to_learn_gives_the_prior(name: str) -> None:
    lonely = interactions([0, 1, 2], [1, 1, 2], [START_US] * 3, people=3, items=4)
    training = replace(sequence_shop(), interactions=lonely, features=no_features(3, 4))
    model = fitted(name, training)
    answer = model.recommend(training.query(np.array([-1]), training.until_us), 4)
    assert answer.item_PK[0].tolist() == [1, 2, 0, 3]
    assert model.curve == []


def test_steps_without_a_target_leave_no_gap_in_the_curve(tmp_path: Path) -> None:
    """Without repeats, people who take one thing over and over have positions and no targets."""
    person = np.repeat(np.arange(20), 6)
    item = np.where(person < 10, person, person % 3 + np.tile(np.arange(6), 20)) % 12
    known = interactions(
        person.tolist(),
        item.tolist(),
        (START_US + np.tile(np.arange(6), 20) * DAY_US).tolist(),
        people=20,
        items=12,
    )
    training = replace(sequence_shop(), interactions=known, features=no_features(20, 12), repeats=False)
    model = fitted("sasrec", training, positions=5, epochs=2.0)
    model.save(tmp_path)
    told = orjson.loads((tmp_path / "curve.json").read_bytes())
    assert len(told) == 20
    assert all(np.isfinite(point["loss"]) for point in told)
    assert told[-1]["step"] <= 40


@each
def test_threads_do_not_change_the_bytes(name: str, tmp_path: Path) -> None:
    for threads in (1, 2):
        (tmp_path / str(threads)).mkdir()
        fitted(name, shop(threads=threads).training).save(tmp_path / str(threads))
    one, two = ((tmp_path / part / "weights.safetensors").read_bytes() for part in ("1", "2"))
    assert one == two


@each
def test_fit_leaves_torch_as_it_was(name: str) -> None:
    torch.manual_seed(5)
    before = (torch.get_num_threads(), torch.random.get_rng_state())
    fitted(name, shop().training)
    assert torch.get_num_threads() == before[0]
    assert torch.equal(torch.random.get_rng_state(), before[1])


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ConfigError, match="3 heads do not divide a width of 8"):
        fitted("sasrec", shop().training, heads=3)


@pytest.mark.parametrize("damage", ["cut", "missing"])
@each
def test_broken_weights_are_refused(name: str, tmp_path: Path, damage: str) -> None:
    fitted(name, shop().training).save(tmp_path)
    weights = tmp_path / "weights.safetensors"
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        weights.unlink()
    with pytest.raises(IntegrityError, match=r"weights\.safetensors cannot be read"):
        FAMILIES[name].load(tmp_path)

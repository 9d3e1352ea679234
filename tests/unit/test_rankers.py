"""The rankers: each finds the planted signal, on any scale and with gaps, prefers what gained more, and comes back from disk."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from counterfoil.errors import ConfigError, IntegrityError
from models.config import build
from models.families.mlp import MlpStagesConfig
from models.families.twostage import TwoStageConfig
from models.nn import listwise
from models.rank import network, ranker, scale
from models.rank.booster import BoosterConfig
from models.rank.examples import Examples, join, sample
from models.rank.linear import LogisticConfig
from models.rank.network import CrossConfig, MlpConfig
from models.rank.ranker import Ranker, RankerConfig
from tests.unit.test_twostage import two_lists

NAN = np.nan
NAMES = ("noise", "count", "gap")
CONFIGS: dict[str, RankerConfig] = {
    "lambdamart": BoosterConfig(trees=30, min_child_weight=1.0, columns=1.0),
    "logistic": LogisticConfig(looseness=1.0),
    "mlp": MlpConfig(epochs=20, dropout=0.0),
    "dcn": CrossConfig(epochs=20, dropout=0.0),
}
each_ranker = pytest.mark.parametrize("kind", CONFIGS)


@cache
def planted() -> Examples:
    """Return 200 people with 15 candidates: the more often, the better, on a scale of 1 to 10^6; where `gap` is absent, worse."""
    random = np.random.default_rng(0)
    count_N = np.exp(random.random(3000) * np.log(1e6))
    gap_N = np.where(random.random(3000) < 0.5, NAN, 1.0)
    worth_N = np.log(count_N) / np.log(1e6) + 0.5 * np.isfinite(gap_N) + 0.1 * random.normal(size=3000)
    gain_N = np.where(worth_N > 1.1, 1.0, 0.0)
    return Examples(
        names=NAMES,
        value_NF=np.column_stack([random.normal(size=3000), count_N, gap_N]).astype(np.float32),
        gain_N=gain_N.astype(np.float32),
        group_N=np.repeat(np.arange(200), 15),
    )


@cache
def grown(kind: str) -> Ranker:
    return ranker.grow(CONFIGS[kind], planted(), seed=0, threads=1)


@each_ranker
def test_finds_what_was_planted_whatever_the_scale(kind: str) -> None:
    score_N = grown(kind).score(np.array([[0, 10, NAN], [0, 10, 1], [0, 3e5, NAN], [0, 3e5, 1]], np.float32))
    assert score_N.dtype == np.float32
    assert score_N[3] > max(score_N[1], score_N[2])
    assert score_N[0] < min(score_N[1], score_N[2])


@each_ranker
def test_what_gains_more_comes_first(kind: str) -> None:
    random = np.random.default_rng(1)
    kind_N = random.integers(3, size=4000)
    gain_N = np.array([0.0, 0.2, 1.0], np.float32)[kind_N] * (random.random(4000) < 0.4)
    examples = Examples(
        names=("click", "buy"),
        value_NF=np.column_stack([kind_N == 1, kind_N == 2]).astype(np.float32),
        gain_N=gain_N.astype(np.float32),
        group_N=np.repeat(np.arange(200), 20),
    )
    learned = ranker.grow(CONFIGS[kind], examples, seed=0, threads=1)
    nothing, click, buy = learned.score(np.array([[0, 0], [1, 0], [0, 1]], np.float32))
    assert buy > click > nothing


@each_ranker
def test_comes_back_from_disk(kind: str, tmp_path: Path) -> None:
    grown(kind).save(tmp_path)
    loaded = ranker.load(CONFIGS[kind], tmp_path, NAMES)
    np.testing.assert_array_equal(loaded.score(planted().value_NF), grown(kind).score(planted().value_NF))
    assert loaded.names == NAMES
    with pytest.raises(IntegrityError):
        ranker.load(CONFIGS[kind], tmp_path, ("a", "b"))


@each_ranker
def test_equal_rows_have_equal_scores_whatever_stands_beside_them(kind: str) -> None:
    row_NF = planted().value_NF[:1]
    alone = grown(kind).score(row_NF)[0]
    for size in (2, 7, 1000):
        assert (grown(kind).score(np.repeat(row_NF, size, axis=0)) == alone).all()
    assert grown(kind).score(planted().value_NF)[0] == alone
    assert len(grown(kind).score(planted().value_NF[:0])) == 0


@pytest.mark.parametrize("kind", ["lambdamart", "logistic"])
def test_contributions_add_up_and_name_the_signal(kind: str) -> None:
    row_NF = planted().value_NF[:50]
    parts_NF = grown(kind).contributions(row_NF)
    assert parts_NF is not None
    np.testing.assert_allclose(parts_NF.sum(axis=1), grown(kind).score(row_NF), rtol=1e-4, atol=1e-5)
    spread_F = parts_NF[:, :3].std(axis=0)
    assert spread_F.argmin() == 0


@pytest.mark.parametrize("kind", ["mlp", "dcn"])
def test_networks_do_not_pretend_to_explain_themselves(kind: str) -> None:
    assert grown(kind).contributions(planted().value_NF[:5]) is None


@pytest.mark.parametrize("config", [MlpConfig(first=8, second=4), CrossConfig(first=8, second=4, rank=3)])
def test_numpy_scores_as_torch_does(config: MlpConfig | CrossConfig) -> None:
    x_NX = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    scorer = listwise.Scorer(config, 6)
    listwise._initialise(scorer, 0)
    with torch.no_grad():
        told_N = scorer(torch.from_numpy(x_NX)).numpy()
    weights = {name: value.numpy() for name, value in scorer.state_dict().items()}
    np.testing.assert_allclose(network.forward(weights, x_NX), told_N, rtol=1e-5, atol=1e-6)


def test_softmax_loss_by_hand() -> None:
    # first group: shares 1/4 and 3/4, of which the second one gained; second group: two equal ones gained alike
    score_N = torch.log(torch.tensor([1.0, 3.0, 2.0, 2.0]))
    loss = listwise.softmax_loss(score_N, torch.tensor([0.0, 1.0, 0.5, 0.5]), torch.tensor([0, 0, 1, 1]), 2)
    assert loss.item() == pytest.approx((-np.log(0.75) - np.log(0.5)) / 2, rel=1e-6)


def test_scale_tames_far_values_and_tells_of_gaps_once() -> None:
    value_NF = np.array([[0, NAN, NAN, 5], [1, 1, 2, 5], [10, 2, 9, 5], [1e9, 3, 9, 5]], np.float32)
    curves = scale.learn(value_NF)
    read_NX = curves.read(value_NF)
    assert curves.absent_M.tolist() == [1]  # signals 1 and 2 are absent together
    assert curves.signal_X.tolist() == [0, 1, 2, 0, 1, 2, 1]  # the last signal is always 5
    assert read_NX.shape == (4, curves.width)
    assert np.abs(read_NX).max() <= scale.FAR
    assert read_NX[:, -1].tolist() == [1, 0, 0, 0]
    assert (np.diff(read_NX[:, 0]) > 0).all()
    assert read_NX[0, [1, 2, 4, 5]].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(read_NX[:, 0].mean(), 0, atol=1e-6)


def test_examples_are_joined_with_groups_of_their_own() -> None:
    one = Examples(
        names=("a", "same"),
        value_NF=np.array([[1, 7], [2, 7]], np.float32),
        gain_N=np.array([0, 1], np.float32),
        group_N=np.array([3, 8]),
    )
    joined = join([one, one])
    assert joined.group_N.tolist() == [0, 1, 2, 3]
    assert joined.start_G.tolist() == [0, 1, 2, 3, 4]
    assert joined.telling().names == ("a",)
    assert joined.telling().value_NF.tolist() == [[1], [2], [1], [2]]


def test_sample_keeps_what_was_taken_and_some_of_the_rest() -> None:
    pool = two_lists()  # three candidates of person 0, two of person 1
    kept_N = sample(pool, np.array([0, 1, 0, 0, 0], np.float32), 1, np.random.default_rng(0))
    assert kept_N[1]
    assert kept_N[[0, 2]].sum() == 1
    assert not kept_N[3:].any()


def test_the_kind_of_ranker_is_told_by_its_name() -> None:
    assert build(TwoStageConfig, {"ranker": {"kind": "mlp", "first": 8}}, "twostage").ranker == MlpConfig(
        first=8
    )
    assert build(TwoStageConfig, {"ranker": {"trees": 7}}, "twostage").ranker == BoosterConfig(trees=7)
    assert build(MlpStagesConfig, {"ranker": {"first": 8}}, "mlp").ranker == MlpConfig(first=8)
    with pytest.raises(
        ConfigError, match=r"ranker.kind is 'forest', must be one of 'lambdamart', 'logistic'"
    ):
        build(TwoStageConfig, {"ranker": {"kind": "forest"}}, "twostage")

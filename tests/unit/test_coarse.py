"""Coarse products: bounds that hold, and answers that are those of every product, though most are never computed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from counterfoil import compiled
from models import index
from models.coarse import LEAST, Coarse
from tests.drawn_sequences import asked, transformer
from tests.unit.test_index import planted


@pytest.fixture(scope="module", autouse=True)
def loops() -> None:
    compiled.compile_all()


def unequal(items: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors whose lengths differ by a factor of hundreds, and offsets."""
    random = np.random.default_rng(seed)
    vector_ID = random.normal(size=(items, width)) * np.exp(1.5 * random.normal(size=(items, 1)))
    return vector_ID.astype(np.float32), random.normal(size=items).astype(np.float32)


numbers = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_the_true_product_lies_between_the_bounds(data: st.DataObject) -> None:
    items, width = data.draw(st.integers(1, 20)), data.draw(st.sampled_from([1, 3, 64, 65, 130]))
    vector_ID = data.draw(hnp.arrays(np.float32, (items, width), elements=numbers))
    offset_I = data.draw(hnp.arrays(np.float32, items, elements=numbers))
    person_D = data.draw(hnp.arrays(np.float32, width, elements=numbers))
    low_I, high_I = Coarse(vector_ID, offset_I).bounds(person_D)
    for product_I in (
        vector_ID.astype(np.float64) @ person_D.astype(np.float64) + offset_I,
        vector_ID @ person_D + offset_I,
    ):
        assert (low_I <= product_I).all()
        assert (product_I <= high_I).all()


@pytest.mark.parametrize(
    ("number", "width", "asked"), [(3.6449577e-35, 1, 3.6449577e-35), (3.6454932e-31, 64, 1.0)]
)
def test_what_float32_tells_as_zero_on_the_way_lies_between_the_bounds_too(
    number: float, width: int, asked: float
) -> None:
    vector_ID, person_D = np.full((1, width), number, np.float32), np.full(width, asked, np.float32)
    low_I, high_I = Coarse(vector_ID, np.zeros(1, np.float32)).bounds(person_D)
    assert low_I[0] < 0 < vector_ID[0].astype(np.float64) @ person_D.astype(np.float64) < high_I[0]


@pytest.mark.parametrize("k", [1, 20, 200])
@pytest.mark.parametrize("width", [16, 64, 100])
def test_the_best_are_those_of_every_product(width: int, k: int) -> None:
    vector_ID, offset_I = unequal(20_000, width)
    whole, random = Coarse(vector_ID, offset_I), np.random.default_rng(1)
    allowed_I, excluded = random.random(20_000) < 0.6, random.integers(20_000, size=300)
    for person_D in random.normal(size=(5, width)).astype(np.float32):
        own_C = np.unique(random.integers(20_000, size=30))
        added_C = random.normal(size=len(own_C)).astype(np.float32) * 30
        right_I = vector_ID @ person_D + offset_I
        right_I[own_C] += added_C
        right_I[~allowed_I] = right_I[excluded] = -np.inf
        best = np.lexsort((np.arange(20_000), -right_I))[:k]
        found = whole.best(person_D, k, allowed_I=allowed_I, excluded=excluded, extra=(own_C, added_C))
        assert found is not None
        assert found[0].tolist() == best.tolist()
        np.testing.assert_allclose(found[1], right_I[best], rtol=1e-4, atol=1e-4)


def test_equal_products_go_to_the_lower_index_and_few_items_are_left_to_every_product() -> None:
    vector_ID = np.ones((LEAST, 4), np.float32)
    whole = Coarse(vector_ID, np.zeros(LEAST, np.float32))
    found = whole.best(np.ones(4, np.float32), 7)
    assert found is not None and found[0].tolist() == list(range(7))
    few_I = np.zeros(LEAST, bool)
    few_I[[5, 9]] = True
    assert whole.best(np.ones(4, np.float32), 7, allowed_I=few_I) is None


def test_the_recall_of_an_index_over_unequal_vectors_is_one() -> None:
    vector_ID, person_PD = planted(6000)
    right_PK, _ = index.Vectors(vector_ID).search(person_PD, 200)
    whole = Coarse(vector_ID, np.zeros(6000, np.float32))
    for person_D, right_K in zip(person_PD, right_PK, strict=True):
        found = whole.best(person_D, 200)
        assert found is not None and found[0].tolist() == right_K.tolist()


# sequence models, one person


@pytest.mark.parametrize("scale", [0.0, 16.0])
@pytest.mark.parametrize("repeats", [False, True])
def test_one_person_is_answered_as_by_every_product(repeats: bool, scale: float) -> None:
    items, random = LEAST + 40, np.random.default_rng(3)
    model = transformer(LEAST, width=16, blocks=2, heads=2, repeats=repeats, scale=scale)
    for length in (1, 2, 11, 12, 40):
        query = asked(items, random.integers(0, [items, 9][length % 2], length))
        some = replace(
            query, allowed_I=random.random(items) < 0.5, exclude=(random.integers(items, size=50),)
        )
        for question in (query, some):
            sooner, right = model.recommend(question, 100), model.exactly(question, 100)
            assert model._sooner(question, 100, *model._read(model._latest(question))) is not None
            assert sooner.item_PK.tolist() == right.item_PK.tolist()
            np.testing.assert_allclose(sooner.score_PK, right.score_PK, rtol=1e-4, atol=1e-4)


def test_who_has_no_known_history_gets_the_learned_prior() -> None:
    model = transformer(LEAST, width=16)
    answer = model.recommend(asked(LEAST + 5, np.array([LEAST + 1])), 5)
    assert answer.item_PK[0].tolist() == np.argsort(-model.bias_I)[:5].tolist()

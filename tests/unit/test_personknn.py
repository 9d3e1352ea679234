"""Person-kNN: likenesses worked out by hand and against numpy, and what neighbours pass on."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from models.families.personknn import PersonKnn, PersonKnnConfig

PLAIN = PersonKnnConfig(likeness="cosine", amplification=1.0, half_life_days=10.0, own_weight=0.0)
TAKEN_QI = csr_matrix(np.array([[1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]], np.float32))
ASKED_PI = csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 0, 0]], np.float32))


def model(config: PersonKnnConfig, taken_QI: csr_matrix = TAKEN_QI) -> PersonKnn:
    return PersonKnn(config, taken_QI, np.zeros(taken_QI.shape[1], np.float32))


def test_cosine_by_hand() -> None:
    np.testing.assert_allclose(model(PLAIN).nearest(ASKED_PI).toarray(), [[1, 0.5, 0], [0, 0, 0]], rtol=1e-6)


def test_what_neighbours_took_is_added_up() -> None:
    np.testing.assert_allclose(model(PLAIN)._score(ASKED_PI), [[1, 1.5, 0.5, 0], [0, 0, 0, 0]], rtol=1e-6)


def test_amplification_is_an_exponent() -> None:
    found_PQ = model(replace(PLAIN, amplification=2.0)).nearest(ASKED_PI).toarray()
    np.testing.assert_allclose(found_PQ[0], [1, 0.25, 0], rtol=1e-6)


def test_tfidf_makes_what_many_took_count_less() -> None:
    found_PQ = model(replace(PLAIN, likeness="tfidf")).nearest(ASKED_PI).toarray()
    rare, common = np.log(3) + 1, np.log(1.5) + 1  # item 1 was taken by two of three, items 0 and 2 by one
    assert found_PQ[0, 1] == pytest.approx(common**2 / (rare**2 + common**2), rel=1e-5)


def test_pearson_is_the_correlation_over_all_items() -> None:
    random = np.random.default_rng(0)
    taken_QI, asked_PI = (random.poisson(0.5, size=(people, 30)).astype(np.float32) for people in (20, 4))
    config = replace(PLAIN, likeness="pearson", neighbours=50)
    found_PQ = model(config, csr_matrix(taken_QI)).nearest(csr_matrix(asked_PI)).toarray()
    expected_PQ = np.corrcoef(asked_PI, taken_QI)[:4, 4:]
    shared_PQ = asked_PI @ taken_QI.T > 0
    np.testing.assert_allclose(found_PQ, np.where(shared_PQ, np.maximum(expected_PQ, 0), 0), atol=1e-5)


def test_only_the_nearest_are_asked_and_of_equals_the_first() -> None:
    alike_QI = csr_matrix(np.array([[1, 0], [1, 1], [1, 0], [1, 0]], np.float32))
    found = model(replace(PLAIN, neighbours=2), alike_QI).nearest(csr_matrix(np.array([[1, 0]], np.float32)))
    assert found.indices.tolist() == [0, 2]

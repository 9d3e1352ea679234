"""A bento whose index misses the best is refused when it is built."""

from pathlib import Path

import numpy as np
import pytest

from bentos.package import package
from counterfoil.errors import ConfigError
from models import index, recall
from models.data import Query, Ranking
from models.families.cascade import Cascade, CascadeConfig
from models.families.twotower import TwoTowerConfig
from models.index import Vectors
from models.splits import no_features
from tests.bento_shop import candidate, settings_of, write_artefact, write_dataset
from tests.shop_data import interactions
from tests.unit.test_index import planted


class Searching:
    """Vectors asked for people in turn; vectors of unequal length, through the graph."""

    def __init__(self, vectors: Vectors, person_PD: np.ndarray) -> None:
        self.vectors, self.person_PD = vectors, person_PD

    def _answer(self, vectors: Vectors, query: Query, k: int) -> Ranking:
        item_PK, score_PK = vectors.search(self.person_PD[query.history.item_N[:1]], k)
        return Ranking(item_PK=item_PK, score_PK=score_PK, sources=("one",), source_PK=item_PK >= 0)

    def recommend(self, query: Query, k: int) -> Ranking:
        return self._answer(self.vectors, query, k)

    def exactly(self, query: Query, k: int) -> Ranking:
        return self._answer(self.vectors.whole, query, k)

    def save(self, folder: Path) -> None:
        raise AssertionError("nobody saves this one")


def asked(items: int) -> Query:
    people = 30
    history = interactions(list(range(people)), list(range(people)), [1] * people, people=people, items=items)
    return Query(history=history, as_of_us=2, features=no_features(people, items))


def test_an_index_over_unequal_vectors_finds_what_is_asked_of_it() -> None:
    vector_ID, person_PD = planted(8000)
    through = Searching(Vectors(vector_ID, exact=1000), person_PD)
    assert through.vectors.graph is not None
    found = recall.require(through, "one", asked(8000))
    assert recall.LEAST <= found["one"] <= 1.0


def test_an_index_that_misses_the_best_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CONNECTIVITY", "CAREFUL", "WIDE", "MARGIN"):
        monkeypatch.setattr(index, name, 2 if name == "CONNECTIVITY" else 1)
    vector_ID, person_PD = planted(8000)
    poor = Searching(Vectors(vector_ID, exact=1000), person_PD)
    outer = Cascade(CascadeConfig(inner="poor"), poor, np.zeros(8000, np.float32), ())  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"an index must find 0\.99: poor finds 0\.\d+; fit again"):
        recall.require(outer, "cascade", asked(8000))


def test_a_model_without_an_index_has_nothing_to_be_held_against() -> None:
    assert recall.require(Cascade(CascadeConfig(), object(), np.zeros(3), ()), "cascade", asked(3)) == {}  # type: ignore[arg-type]


def test_a_bento_tells_the_recall_of_its_index(tmp_path: Path) -> None:
    import orjson

    dataset = write_dataset(tmp_path / "dataset")
    artefact = write_artefact(dataset, tmp_path / "artefact", TwoTowerConfig.family)
    made = package(
        use_case="recommendation",
        candidate=candidate(TwoTowerConfig.family),
        artefact=artefact,
        dataset=dataset,
        feature_service="recommendation_v1",
        settings=settings_of(tmp_path / "home"),
    )
    about = orjson.loads((made.path / "src" / "bento.json").read_bytes())
    assert about["recall"] == {"twotower": 1.0}

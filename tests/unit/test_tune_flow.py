"""`counterfoil tune` on a small shop: every trial in the catalog, the best a candidate like any other, and again goes on."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterfoil.errors import UnknownError
from counterfoil.types import Attempt, Candidate, Dataset
from flows.place import Place
from flows.steps import recorder, steps
from flows.tune import tune_family
from flows.verify import verify
from models.families.itemknn import ItemKnnConfig
from models.families.repurchase import RepurchaseConfig
from models.tune import Budget
from tests.loop_shop import place_of, ran, small_case


@pytest.fixture
def place(turned: Path, tmp_path: Path) -> Iterator[Place]:
    """A copy of an installation whose loop was turned once."""
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


def tuned(place: Place, family: str, trials: int) -> tuple[dict, list[str]]:
    """Tune, and return what is told with the verbs that ran."""
    memory = recorder(place)
    told = tune_family(place, small_case(), family, Budget(trials=trials), memory)
    return told, ran(memory.outcomes)


def test_every_trial_is_recorded_and_the_best_is_a_candidate(place: Place) -> None:
    told, _ = tuned(place, "repurchase", 6)
    attempts = {one.number: one for one in place.catalog.find(Attempt, "small")}
    assert sorted(attempts) == list(range(6)) == [trial["number"] for trial in told["trials"]]
    [dataset] = place.catalog.find(Dataset)
    assert {one.dataset for one in attempts.values()} == {dataset.id} == {told["dataset"]}
    assert {one.study for one in attempts.values()} == {told["study"]}
    assert RepurchaseConfig(**attempts[0].config) == RepurchaseConfig()
    values = {number: one.value for number, one in attempts.items() if one.value is not None}
    assert told["best"] == max(values, key=lambda number: (values[number], -number))
    assert told["value"] == values[told["best"]] and told["base_value"] == values[0]
    assert told["config"] == attempts[told["best"]].config

    candidate = place.catalog.get(told["candidate"])
    assert isinstance(candidate, Candidate) and candidate.config == told["config"]
    behind = {parent for role, parent in place.catalog.parents(candidate.id) if role == "attempt"}
    assert behind == {one.id for one in attempts.values()}
    assert 0 < told["metrics"]["ndcg@10"] < 1
    found = verify(place)
    assert found["faults"] == [] and found["verified"]


def test_again_remembers_and_more_goes_on(place: Place) -> None:
    first, ran_first = tuned(place, "repurchase", 3)
    assert ran_first[:3] == [f"attempt repurchase, trial {number}" for number in range(3)]
    again, ran_again = tuned(place, "repurchase", 3)
    assert again == first and ran_again == []
    more, ran_more = tuned(place, "repurchase", 5)
    assert more["trials"][:3] == first["trials"] and more["study"] == first["study"]
    assert ran_more[:2] == ["attempt repurchase, trial 3", "attempt repurchase, trial 4"]


def test_a_family_that_does_not_contend_is_tuned_from_its_defaults(place: Place) -> None:
    told, _ = tuned(place, "itemknn", 2)
    assert told["trials"][0]["config"] == told["trials"][0]["config"] | {
        "neighbours": ItemKnnConfig().neighbours
    }
    assert eval(told["code"], {"ItemKnnConfig": ItemKnnConfig}) == ItemKnnConfig(**told["config"])


def test_nothing_to_search_says_so_and_fits_the_config_as_it_is(place: Place) -> None:
    told, _ = tuned(place, "popularity", 4)
    assert (told["trials"], told["best"], told["ended"]) == ([], None, "popularity has nothing to search")
    assert place.catalog.get(told["candidate"]).config == told["config"] == {"feature": "buyers_28d"}  # type: ignore[attr-defined]
    assert place.catalog.find(Attempt) == []


def test_the_tuned_config_makes_the_same_candidate_when_it_contends(place: Place) -> None:
    """What a use case fits once the config is written into it is what the tuning fitted."""
    told, _ = tuned(place, "repurchase", 6)
    [dataset] = place.catalog.find(Dataset)
    config = RepurchaseConfig(**told["config"])
    assert steps(place, recorder(place)).fit("small", dataset, config, 0).id == told["candidate"]


def test_a_use_case_without_a_dataset_is_told_to_run_first(tmp_path: Path) -> None:
    empty = place_of(tmp_path / "empty")
    with pytest.raises(
        UnknownError, match="small has no dataset to tune on yet; run `counterfoil run small`"
    ):
        tuned(empty, "repurchase", 1)
    with pytest.raises(UnknownError, match="no family is called 'telepathy'"):
        tuned(empty, "telepathy", 1)
    empty.catalog.engine.dispose()

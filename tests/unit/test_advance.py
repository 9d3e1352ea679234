"""The loop as a composition, on a small shop: what a turn leaves, what is done again and why, who may become champion."""

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from counterfoil.catalog.lineage import backwards
from counterfoil.errors import ConflictError, GateError, InputError
from counterfoil.types import Candidate, Decision, Evaluation, Gate, Release
from flows import champion as champions
from flows import verbs
from flows.advance import Advanced, advance
from flows.gate import Policy
from flows.place import CODE, Place, code_digests, source_digest
from flows.steps import recorder, steps
from flows.verify import verify
from models.families.als import AlsConfig
from models.families.popularity import PopularityConfig
from models.families.repurchase import RepurchaseConfig
from tests.loop_shop import DAYS, END, land_shop, place_of, ran, small_case, turn, write_shop

NEXT = END + timedelta(days=1)
ALL = [
    "validate",
    "snapshot",
    "inspect",
    "fit popularity",
    "fit repurchase",
    "evaluate popularity",
    "evaluate repurchase",
    "decide",
    "materialise",
    "package",
    "release",
]


@pytest.fixture
def place(turned: Path, tmp_path: Path) -> Iterator[Place]:
    """A copy of an installation whose loop was turned once."""
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    yield copied
    copied.catalog.engine.dispose()


@pytest.fixture(scope="module")
def turned_twice(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installation a day later: one more day landed, and the loop turned on it."""
    folder = tmp_path_factory.mktemp("tomorrow")
    place = place_of(shutil.copytree(turned, folder / "home"))
    land_day(place, folder / "day")
    turn(place, small_case(), NEXT)
    place.catalog.engine.dispose()
    return place.settings.home


@pytest.fixture
def later(turned_twice: Path, tmp_path: Path) -> Iterator[Place]:
    """A copy of the installation a day later."""
    copied = place_of(shutil.copytree(turned_twice, tmp_path / "later"))
    yield copied
    copied.catalog.engine.dispose()


def first_turn(place: Place) -> Advanced:
    advanced, outcomes = turn(place, small_case(), END)
    assert ran(outcomes) == []
    return advanced


def land_day(place: Place, folder: Path, day: int = DAYS, **changes: float) -> None:
    """Land one more day of the same shop."""
    land_shop(place.settings, write_shop(folder, days=range(day, day + 1), **changes))


# what a turn leaves


def test_the_first_turn_promotes_and_says_that_nobody_defended(place: Place) -> None:
    advanced = first_turn(place)
    assert advanced.decision.verb == "promote" and advanced.decision.champion is None
    assert advanced.decision.sentences[0].startswith("There is no champion yet")
    assert advanced.release == place.catalog.champion("small")
    assert advanced.release.epoch == 1 and advanced.release.decision == advanced.decision.id
    assert [candidate.family for candidate in advanced.candidates] == ["popularity", "repurchase"]
    assert advanced.decision.winner == advanced.candidates[1].id
    assert len(advanced.verdicts) == DAYS + 1 and all(verdict.passed for verdict in advanced.verdicts)
    assert (advanced.dataset.as_of, advanced.dataset.holdout_from) == (END, END - timedelta(days=7))


def test_everything_it_left_is_proven(place: Place) -> None:
    found = verify(place)
    assert found["faults"] == [] and found["verified"] is True
    checked = found["checked"]
    assert checked["nouns"] == (DAYS + 1) + 1 + 2 + 2 + 1 + 1 + 1 + 1 + 1  # and the settings
    assert (checked["versions"], checked["bentos"], checked["landed files"]) == (5, 1, DAYS + 2)
    assert checked["releases"] >= 1


def test_lineage_leads_from_the_release_to_every_verdict(place: Place) -> None:
    advanced = first_turn(place)
    walked = backwards(place.catalog, advanced.release.id)
    kinds = [step.noun.kind for step in walked]
    assert {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)} == {
        "release": 1,
        "bento": 1,
        "decision": 1,
        "dataset": 1,
        "evaluation": 2,
        "verdict": DAYS + 1,
        "candidate": 2,
    }
    assert {step.noun.id for step in walked if step.noun.kind == "verdict"} == {
        verdict.id for verdict in advanced.verdicts
    }


def test_every_noun_names_the_code_that_made_it(place: Place) -> None:
    advanced = first_turn(place)
    versions = {
        noun.code_version
        for noun in (advanced.dataset, *advanced.candidates, *advanced.evaluations, advanced.decision)
    }
    assert len(versions) == 1 and "source:" in versions.pop()


# what is done again


def test_turning_again_does_nothing(place: Place) -> None:
    first = first_turn(place)
    again, outcomes = turn(place, small_case(), END)
    assert again == first
    assert [f"{outcome.verb} {outcome.label}".strip() for outcome in outcomes] == ALL
    assert all(outcome.skipped for outcome in outcomes)


@pytest.mark.parametrize(
    ("verb", "again"),
    [
        ("evaluate", ["evaluate popularity", "evaluate repurchase"]),
        ("fit", ["fit popularity", "fit repurchase"]),
        ("inspect", ["inspect"]),
        ("package", ["package"]),
        ("materialise", ["materialise"]),
    ],
)
def test_changed_code_runs_its_verb_again_and_what_comes_out_the_same_goes_no_further(
    place: Place, verb: str, again: list[str]
) -> None:
    memory = recorder(place)
    memory.code = {**memory.code, verb: "changed"}
    advanced = advance(small_case(), END, steps(place, memory))
    assert ran(memory.outcomes) == again
    assert advanced == first_turn(place)


@pytest.mark.parametrize(
    ("spoil", "again"),
    [
        (lambda place, made: lose(place, made.candidates[0].address), ["fit popularity"]),
        (lambda place, made: lose(place, made.evaluations[1].address), ["evaluate repurchase"]),
        (lambda place, made: lose(place, made.dataset.address), ["snapshot"]),
        (lambda place, made: (place.settings.features / "online.sqlite").unlink(), ["materialise"]),
        (lambda place, made: shutil.rmtree(place.settings.features), ["materialise"]),
        (lambda place, made: shutil.rmtree(place.settings.bentos), ["package"]),
    ],
    ids=["candidate", "evaluation", "dataset", "online store", "all features", "bentos"],
)
def test_what_was_lost_is_made_again_and_is_the_same(
    place: Place, spoil: Callable[[Place, Advanced], None], again: list[str]
) -> None:
    made = first_turn(place)
    spoil(place, made)
    mended, outcomes = turn(place, small_case(), END)
    assert ran(outcomes) == again
    assert mended == made
    assert verify(place)["faults"] == []
    assert len(place.catalog.releases("small")) == 1


def lose(place: Place, address: str) -> None:
    """Remove a version from the store, and the opened copy of it."""
    place.store._object(address).unlink()
    shutil.rmtree(place.settings.work / "opened" / address.removesuffix(".dir"), ignore_errors=True)


def test_every_path_whose_code_is_watched_exists() -> None:
    root = Path(verbs.__file__).parents[2]
    assert not [path for paths in CODE.values() for path in paths if not (root / path).exists()]
    assert len(set(code_digests().values())) > 4


def test_a_digest_of_sources_changes_with_them() -> None:
    assert source_digest(("models",)) == source_digest(("models",)) != source_digest(("flows",))


# who may become champion


def test_the_champion_defends_on_tomorrows_data(later: Place) -> None:
    """Its artefact of yesterday is scored on today's holdout; what it beats by is paired with the contenders."""
    advanced, outcomes = turn(later, small_case(), NEXT)
    assert ran(outcomes) == []
    champion = advanced.decision.champion
    assert later.catalog.releases("small")[-1]["epoch"] == 1
    assert champion == first_turn(later).decision.winner
    assert champion not in {candidate.id for candidate in advanced.candidates}
    scored = {e.dataset for e in later.catalog.find(Evaluation) if e.candidate == champion}
    assert scored == {advanced.dataset.id, later.catalog.get(champion).dataset}
    assert [comparison.difference for comparison in advanced.decision.comparisons].count(None) <= 1
    assert verify(later)["faults"] == []


def test_a_champion_defends_against_contenders_of_changed_code_on_the_same_data(place: Place) -> None:
    """Nobody is promoted past the champion just because the day is the same as when it was made."""
    champion = first_turn(place).decision.winner
    weaker = small_case(contenders=(PopularityConfig(),))
    advanced, _ = turn(place, weaker, END)
    assert advanced.decision.champion == champion
    assert advanced.decision.verb != "promote" and advanced.release is None
    assert place.catalog.champion("small").epoch == 1


def test_deciding_twice_is_deciding_once(place: Place) -> None:
    """The winner is among the contenders of the second turn: it does not defend against itself."""
    first = first_turn(place)
    stricter = small_case(gate=Gate(primary="ndcg@10", margin=0.003, min_units=50, noise_seeds=(1,)))
    advanced, outcomes = turn(place, stricter, END)
    assert "evaluate champion" not in [f"{o.verb} {o.label}" for o in outcomes]
    assert advanced.decision.champion is None
    assert advanced.decision.winner == first.decision.winner


def test_yesterdays_turn_stays_what_it_was_after_todays(place: Place, later: Place) -> None:
    again, outcomes = turn(later, small_case(), END)
    assert ran(outcomes) == [] and again == first_turn(place)


def test_a_champion_that_has_seen_the_holdout_is_not_compared(place: Place) -> None:
    """An earlier as-of would hold out days that the champion learned from."""
    with pytest.raises(InputError, match="choose a later --as-of"):
        turn(place, small_case(), END - timedelta(days=4))
    assert place.catalog.champion("small").epoch == 1


def test_a_release_is_refused_when_another_came_in_since_the_decision(later: Place) -> None:
    """Two decisions beat the same champion; once the one has been released, the other has beaten nobody who serves."""
    turned_first = first_turn(later)
    bento = later.catalog.get(turned_first.release.bento)
    epoch = later.catalog.champion("small").epoch
    tomorrow, _ = turn(later, small_case(), NEXT)

    def decided(winner: int) -> Decision:
        return Decision(
            use_case="small",
            dataset=tomorrow.dataset.id,
            verb="promote",
            winner=tomorrow.candidates[winner].id,
            champion=champions.defender(later, small_case(), tomorrow.dataset, ()).id,
            evaluations=(),
            comparisons=(),
            sentences=(f"for {winner}",),
            gate="0",
            code_version="test",
        )

    decisions = [decided(0), decided(1)]
    later.catalog.record("decide", "two decisions", decisions, [], [], 0.0)
    release = steps(later, recorder(later)).release
    released = release(small_case(), decisions[0], bento)
    assert later.catalog.champion("small") == released and released.epoch == epoch + 1
    with pytest.raises(ConflictError, match="run again to decide against the champion of now"):
        release(small_case(), decisions[1], bento)
    assert later.catalog.champion("small") == released
    assert release(small_case(), decisions[0], bento) == released


def test_a_seeded_leader_is_fitted_again_with_other_seeds(place: Place) -> None:
    quick = AlsConfig(factors=16, iterations=5, regularization=0.1)
    gate = Gate(primary="ndcg@10", margin=0.002, min_units=50, noise_seeds=(1, 2))
    advanced, outcomes = turn(place, small_case(contenders=(PopularityConfig(), quick), gate=gate), END)
    assert ran(outcomes)[:6] == [
        "fit als",
        "evaluate als",
        "fit als, seed 1",
        "evaluate als, seed 1",
        "fit als, seed 2",
        "evaluate als, seed 2",
    ]
    assert sorted(c.seed for c in place.catalog.find(Candidate) if c.family == "als") == [0, 1, 2]
    assert len({c.address for c in place.catalog.find(Candidate) if c.family == "als"}) == 3
    assert len(advanced.decision.evaluations) == 4
    noise = {comparison.family: comparison.noise for comparison in advanced.decision.comparisons}
    assert noise["als"] > 0


# the gate


def test_bad_data_stops_the_loop_and_the_champion_goes_on(place: Place, tmp_path: Path) -> None:
    """A day in another currency: every price twenty times what it was."""
    before = {row["id"] for row in place.catalog.rows()}
    land_day(place, tmp_path / "dear", dearer=20.0)
    memory = recorder(place)
    with pytest.raises(GateError, match="price"):
        advance(small_case(), NEXT, steps(place, memory))
    assert ran(memory.outcomes) == ["validate"]
    made = [row for row in place.catalog.rows() if row["id"] not in before]
    assert {row["kind"] for row in made} == {"verdict"}
    assert isinstance(place.catalog.champion("small"), Release)
    with pytest.raises(GateError, match="price"):
        advance(small_case(), NEXT, steps(place, recorder(place, look=True)))


def test_a_use_case_brings_its_own_policy_for_the_data(place: Place) -> None:
    """Stricter than the shop can be: days and snapshot are judged anew, and refused by the floor that was asked for."""
    with pytest.raises(GateError, match="rows_at_least"):
        turn(place, small_case(data_policy=Policy(rows_floor=10_000)), END)
    with pytest.raises(GateError, match="rows_at_least"):
        turn(place, small_case(data_policy=Policy(snapshot_rows_floor=1_000_000)), END)
    _, outcomes = turn(place, small_case(data_policy=Policy(volume_critical=(0.02, 60))), END)
    assert ran(outcomes)[0] == "validate" and "inspect" in ran(outcomes)


def test_the_family_that_wins_on_this_shop_is_the_one_that_should(place: Place) -> None:
    """People here take their favourites again and again, so remembering beats popularity by far."""
    scores = {
        evaluation.family: evaluation.metrics["ndcg@10"] for evaluation in first_turn(place).evaluations
    }
    assert scores["repurchase"] > scores["popularity"] + 0.1
    assert RepurchaseConfig.family == "repurchase"

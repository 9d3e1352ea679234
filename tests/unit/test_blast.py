"""What contaminations reach: twenty and more planted ones, each against a truth that is counted from the rows themselves."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from flows.blast import Reached, radius
from flows.place import code_version
from tests.loop_shop import START
from tests.planted import History, Turn, day_of, live, start_anew


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    made = live(tmp_path_factory.mktemp("planted"))
    yield made
    made.place.catalog.engine.dispose()


@pytest.fixture(scope="module")
def anew(lived: History, tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    made = start_anew(lived, tmp_path_factory.mktemp("anew"))
    yield made
    made.place.catalog.engine.dispose()


@dataclass
class Truth:
    """Which turns' datasets hold it, which turns' online rows do, and whose answers count besides."""

    holds: Callable[[Turn], bool]
    online: Callable[[Turn], bool] | None = None
    person: str | None = None
    item: str | None = None


def expected(lived: History, truth: Truth) -> dict[str, Any]:
    """Count by brute force what the truth reaches."""
    held = [truth.holds(turn) for turn in lived.turns]
    in_rows = [
        truth.online(turn) if truth.online else holds for turn, holds in zip(lived.turns, held, strict=True)
    ]
    every = [turn.made for turn in lived.turns]
    datasets = {made.dataset.id for made, holds in zip(every, held, strict=True) if holds}
    candidates = {one.id for made in every for one in made.candidates if one.dataset in datasets}
    bentos = {
        release.bento: release
        for made in every
        if (release := made.release)
        and {made.decision.winner, made.decision.dataset} & (candidates | datasets)
    }
    releases = {made.release.id for made in every if made.release and made.release.bento in bentos}
    found = [
        answer
        for answer in lived.answers
        if answer.receipt.release in releases
        or (answer.rows_of is not None and in_rows[answer.rows_of])
        or answer.receipt.person == truth.person
        or truth.item in [item.item for item in answer.receipt.items]
    ]
    return {
        "datasets": datasets,
        "candidates": candidates,
        "evaluations": {
            one.id
            for made in every
            for one in made.evaluations
            if one.dataset in datasets or one.candidate in candidates
        },
        "bentos": set(bentos),
        "releases": releases,
        "answers": len(found),
        "people": len({one.receipt.person for one in found} - {"nobody"}),
    }


def said(found: Reached, evaluations: set[str]) -> dict[str, Any]:
    """Return what the code says, in the shape of the truth."""
    kinds = ("dataset", "candidate", "evaluation", "bento", "release")
    told: dict[str, Any] = {f"{kind}s": set(found.of(kind)) for kind in kinds}
    # The evaluations of defending champions are not among what a turn hands on; they are held against their records below.
    told["evaluations"] &= evaluations
    return {**told, "answers": found.answers.answers, "people": found.answers.people}


def rows_where(condition: Callable[[dict[str, Any]], bool]) -> Truth:
    """Return the truth about events: in the online rows are purchases alone."""
    return Truth(
        holds=lambda turn: any(condition(row) for row in turn.rows),
        online=lambda turn: any(condition(row) for row in turn.rows if row["kind"] == "purchase"),
    )


def batch(lived: History, name: str) -> Truth:
    """Return the truth about a batch: its new rows and its changed items, as they stand in what was written."""
    ids, changed = {row["id"] for row in lived.brought[name]}, lived.changed[name]
    rows = rows_where(lambda row: row["id"] in ids)

    def items(turn: Turn) -> bool:
        return any(turn.items.get(id) == row for id, row in changed.items())

    assert rows.online is not None
    in_rows = rows.online
    return Truth(
        holds=lambda turn: rows.holds(turn) or items(turn), online=lambda turn: in_rows(turn) or items(turn)
    )


def on(day: int) -> Callable[[dict[str, Any]], bool]:
    return lambda row: row["time"].date().isoformat() == day_of(day)


def between(day: int, first_hour: float, last_hour: float) -> tuple[str, Truth]:
    since, until = (START + timedelta(days=day, hours=hour) for hour in (first_hour, last_hour))
    return f"{since.isoformat()}..{until.isoformat()}", rows_where(lambda row: since <= row["time"] < until)


def same_file(lived: History, turns: tuple[int, ...]) -> Truth:
    """Return the truth about a day's file: the turns that were written from it or from what was made of it."""
    chosen = [id(lived.turns[number]) for number in turns]
    return Truth(holds=lambda turn: id(turn) in chosen)


def planted(lived: History) -> dict[str, tuple[tuple[str, ...], Truth]]:
    """Return every contamination: the words by which it is asked for, and its truth."""
    someone, late, nowhere = (lived.pseudonym(name) for name in ("person 7", "late person", "person 45"))
    early, early_truth = between(7, 22.9, 23.1)
    empty, empty_truth = between(7, 23.1, 23.9)
    cart_hour, cart_truth = between(6, 11.9, 12.0001)
    first_row = lived.brought["base"][0]
    landing = lived.place.settings.landing
    return {
        **{f"batch {name}": ((lived.batches[name],), batch(lived, name)) for name in lived.batches},
        "the raw folder of the late lines": ((str(lived.folder / "late"),), batch(lived, "late")),
        "a day's file before late lines": (
            (lived.digests["day 5 at first"],),
            same_file(lived, (0, 1, 2, 3, 4, 5)),
        ),
        "a day's file of now": (
            (str(landing / f"events/day={day_of(5)}/events.parquet"),),
            same_file(lived, (1, 2, 3, 4, 5)),
        ),
        "a day's file that nothing was made of yet": ((lived.digest_of(3),), same_file(lived, ())),
        "a day": ((day_of(2),), rows_where(on(2))),
        "tomorrow": ((day_of(12),), rows_where(on(12))),
        "the last day": ((day_of(13),), rows_where(on(13))),
        "an hour with a late line": ((early,), early_truth),
        "an hour in which nothing happened": ((empty,), empty_truth),
        "an hour with carts": ((cart_hour,), cart_truth),
        "two moments": (
            (day_of(12), day_of(14)),
            rows_where(lambda row: day_of(12) <= row["time"].date().isoformat() < day_of(14)),
        ),
        "an event": ((f"event:{first_row['id']}",), rows_where(lambda row: row["id"] == first_row["id"])),
        "late events": (
            ("event:late-1", "event:late-3"),
            rows_where(lambda row: row["id"] in {"late-1", "late-3"}),
        ),
        "a cart": (("event:cart-1",), rows_where(lambda row: row["id"] == "cart-1")),
        "a view": (("event:view-1",), rows_where(lambda row: row["id"] == "view-1")),
        "a person by name": (
            ("person:person 7",),
            Truth(holds=lambda turn: any(row["person"] == "person 7" for row in turn.rows), person=someone),
        ),
        "a person by pseudonym": (
            (late,),
            Truth(holds=lambda turn: any(row["person"] == "late person" for row in turn.rows), person=late),
        ),
        "a person who was only answered": (("person 45",), Truth(holds=lambda turn: False, person=nowhere)),
        "a person of carts alone": (
            ("cart person",),
            Truth(
                holds=lambda turn: any(row["person"] == "cart person" for row in turn.rows),
                online=lambda turn: False,
            ),
        ),
        "an item": (("i003",), Truth(holds=lambda turn: "i003" in turn.items, item="i003")),
        "an item of late lines": (
            ("item:i900",),
            Truth(holds=lambda turn: "i900" in turn.items, item="i900"),
        ),
        "the items' features": (("view:item",), Truth(holds=lambda turn: True, online=lambda turn: False)),
        "the people's features": (("view:person",), Truth(holds=lambda turn: True)),
        "the code": ((f"code:{code_version()}",), Truth(holds=lambda turn: True)),
        "a dataset": ((lived.turns[2].made.dataset.id,), same_file(lived, (2,))),
    }


NAMES = [
    *(
        f"batch {name}"
        for name in ("base", "late", "tomorrow", "carts", "views", "later", "dear", "mended", "unused")
    ),
    "the raw folder of the late lines",
    "a day's file before late lines",
    "a day's file of now",
    "a day's file that nothing was made of yet",
    "a day",
    "tomorrow",
    "the last day",
    "an hour with a late line",
    "an hour in which nothing happened",
    "an hour with carts",
    "two moments",
    "an event",
    "late events",
    "a cart",
    "a view",
    "a person by name",
    "a person by pseudonym",
    "a person who was only answered",
    "a person of carts alone",
    "an item",
    "an item of late lines",
    "the items' features",
    "the people's features",
    "the code",
    "a dataset",
]


def test_every_contamination_is_asked_for(lived: History) -> None:
    assert sorted(planted(lived)) == sorted(NAMES) and len(NAMES) >= 20


@pytest.mark.parametrize("name", NAMES)
def test_precision_and_recall_are_one(lived: History, name: str) -> None:
    words, truth = planted(lived)[name]
    evaluations = {one.id for turn in lived.turns for one in turn.made.evaluations}
    found = radius(lived.place, words)
    assert said(found, evaluations) == expected(lived, truth)
    assert found.notes == ()


def test_the_truths_tell_turns_apart(lived: History) -> None:
    """A truth that held of all turns, or of none, would prove little."""
    reached = {name: len(expected(lived, truth)["datasets"]) for name, (_, truth) in planted(lived).items()}
    assert set(reached.values()) >= {0, 1, 2, 3, 5, 6}
    assert all(turn.made.release for turn in lived.turns)
    assert {path.suffix for path in lived.place.settings.receipts.glob("*/*")} == {".jsonl", ".parquet"}


ANEW = [
    "batch base",
    "batch late",
    "batch tomorrow",
    "batch carts",
    "a day",
    "a person by pseudonym",
    "an item of late lines",
]


@pytest.mark.parametrize("name", ANEW)
def test_what_is_written_from_mended_days_is_free(anew: History, lived: History, name: str) -> None:
    """The landing was emptied, so only the records beside it know of the late lines."""
    words, truth = planted(lived)[name]
    evaluations = {one.id for turn in anew.turns for one in turn.made.evaluations}
    assert said(radius(anew.place, words), evaluations) == expected(anew, truth)
    if name in ("batch late", "a person by pseudonym"):
        assert anew.turns[-1].made.dataset.id not in radius(anew.place, words).of("dataset")


def test_a_decision_that_only_weighed_something_is_told_apart(anew: History, lived: History) -> None:
    """The champion that learned from late lines defends on mended data: its evaluation is reached, what beats it is not."""
    found = radius(anew.place, (lived.batches["late"],))
    last = anew.turns[-1].made
    assert last.decision.id in found.reach.weighed and last.decision.champion in found.reach.made
    assert last.release is not None
    assert {last.release.id, last.release.bento, last.dataset.id}.isdisjoint(found.reach.made)


def test_an_older_home_counts_all_that_may_hold_a_batch_and_says_so(lived: History, tmp_path: Path) -> None:
    from tests.loop_shop import place_of

    home = shutil.copytree(lived.place.settings.home, tmp_path / "home")
    shutil.rmtree(home / "batches")
    place = place_of(home)
    found = radius(place, (lived.batches["late"],))
    assert set(found.of("dataset")) == {turn.made.dataset.id for turn in lived.turns}
    assert "landed before" in found.notes[0]
    place.catalog.engine.dispose()

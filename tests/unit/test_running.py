"""Which moment a turn is about, one turn at a time, and whether there is anything to do."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from counterfoil.errors import ConflictError, InputError, UnknownError
from flows.place import Place
from flows.running import as_of_or_latest, nothing_to_do, only_run
from tests.landing_shop import bought, source_of
from tests.loop_shop import place_of

HOLD = """
import sys, time
from pathlib import Path
from flows.running import only_run
from tests.loop_shop import place_of
with only_run(place_of(Path(sys.argv[1])), "small"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """An installation in which three days of March have landed."""
    from counterfoil.landing import land

    opened = place_of(tmp_path / "home")
    days = [bought(str(day), f"2024-03-0{day}T12:00:00Z") for day in (1, 2, 5)]
    land(source_of(tmp_path / "source", "events", days), opened.settings)
    return opened


@pytest.mark.parametrize("asked", [None, "latest"])
def test_the_last_landed_day_may_still_be_filling(place: Place, asked: str | None) -> None:
    assert as_of_or_latest(place, asked) == datetime(2024, 3, 5, tzinfo=UTC)


def test_a_day_that_is_still_to_come_is_not_learned_as_of(place: Place, tmp_path: Path) -> None:
    from counterfoil.landing import land

    land(source_of(tmp_path / "ahead", "events", [bought("9", "2098-03-01T12:00:00Z")]), place.settings)
    before = datetime.now(UTC).date()
    assert before <= as_of_or_latest(place, None).date() <= datetime.now(UTC).date()
    ahead = place_of(tmp_path / "simulated")
    land(source_of(tmp_path / "other", "events", [bought("9", "2098-03-01T12:00:00Z")]), ahead.settings)
    assert as_of_or_latest(ahead, None) == datetime(2098, 3, 1, tzinfo=UTC), "all of it is in years to come"


@pytest.mark.parametrize(
    ("asked", "day"),
    [
        ("2024-03-03", 3),
        ("2024-03-03T18:30:00Z", 3),
        ("2024-03-03T23:30:00-02:00", 4),
        ("2024-03-09", 9),
        ("20240302", 2),
    ],
)
def test_a_moment_is_the_midnight_before_it_in_utc(place: Place, asked: str, day: int) -> None:
    assert as_of_or_latest(place, asked) == datetime(2024, 3, day, tzinfo=UTC)


@pytest.mark.parametrize(
    "asked", ["", "yesterday", "2024-02-30", "2024-03", "32.1.2024", "1e9", "2024-03-03T25:00"]
)
def test_what_is_no_moment_is_said(place: Place, asked: str) -> None:
    with pytest.raises(InputError, match="is no moment"):
        as_of_or_latest(place, asked)


@pytest.mark.parametrize("asked", ["2024-03-01", "2023-12-31", "0001-01-01"])
def test_before_the_first_landed_day_there_is_nothing(place: Place, asked: str) -> None:
    with pytest.raises(InputError, match="before the first landed day 2024-03-01"):
        as_of_or_latest(place, asked)


def test_nothing_landed_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="data import"):
        as_of_or_latest(place_of(tmp_path), None)


def test_too_little_history_says_how_much_is_needed(place: Place, tmp_path: Path) -> None:
    from flows import verbs
    from flows.use_cases import use_case

    case, as_of = use_case("recommendation"), datetime(2024, 3, 5, tzinfo=UTC)
    with pytest.raises(InputError, match="more than 84 days of history"):
        verbs.snapshot(
            place, case.name, case.features, as_of, verbs.days(place, as_of), verbs.tables(place), ()
        )


def test_only_days_before_the_moment_are_taken(place: Place) -> None:
    from flows import verbs

    taken = verbs.days(place, datetime(2024, 3, 5, tzinfo=UTC))
    assert list(taken) == ["2024-03-01", "2024-03-02"]
    assert all(len(sha256) == 64 for sha256 in taken.values())


def test_looking_names_the_first_verb_that_must_run(place: Place) -> None:
    assert nothing_to_do(place, "recommendation", None) == "validate"
    assert list(place.catalog.rows()) == []


def test_an_unknown_use_case_is_said(place: Place) -> None:
    with pytest.raises(UnknownError, match="there are recommendation"):
        nothing_to_do(place, "astrology", None)


def test_one_turn_of_a_use_case_at_a_time(place: Place) -> None:
    with only_run(place, "small"):
        with pytest.raises(ConflictError, match="already being advanced"), only_run(place, "small"):
            pass
        with only_run(place, "other"):
            pass
    with only_run(place, "small"):
        pass


def test_dvcs_stages_wait_for_no_turn_but_say_so(home: Path) -> None:
    """Both work in the same folders."""
    from flows import stage

    with (
        only_run(place_of(home), "recommendation"),
        pytest.raises(ConflictError, match="already being advanced"),
    ):
        stage.run("compare", "recommendation", None)
    with pytest.raises(InputError, match="is no stage"):
        stage.run("bake", "recommendation", None)


def test_another_process_is_seen_and_a_dead_one_is_forgotten(place: Place) -> None:
    root = Path(__file__).resolve().parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(place.settings.home)],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ConflictError), only_run(place, "small"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with only_run(place, "small"):
        pass

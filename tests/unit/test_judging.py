"""Judging on a real installation, with counts as the gateway tells them: what is bad, does not come up, or nobody counts."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bentos.gateway import stats as gateway_stats
from bentos.gateway.stats import Counts, Second, Stats, Told
from counterfoil.receipts.store import LOT
from counterfoil.types import Candidate, Decision, Release, Rollout
from flows import rollout, steer
from flows.judge import fewer_clicks
from flows.place import Place
from flows.supervisor.judging import FORMER, Baseline, Judging, last_ruling, totals_of
from flows.supervisor.services import Trouble
from flows.supervisor.wanted import wanted
from flows.verify import verify
from tests.loop_shop import challenger_of as challenger
from tests.loop_shop import champion_of as champion
from tests.loop_shop import place_of, small_case

CASE = small_case(rollout=Rollout(shares=(0.1,), stage_seconds=60, stage_requests=100, patience_seconds=3600))
NOW = 1_800_000_000.0


@pytest.fixture
def place(turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(steer, "use_case", lambda name: {"small": CASE}[name])
    copied = place_of(shutil.copytree(turned, tmp_path / "home"))
    copied.settings.run.mkdir()
    loser = next(one for one in copied.catalog.find(Candidate, "small") if one.family == "popularity")
    steer.promote(copied, loser.id, "Ada", "to see")
    yield copied
    copied.catalog.engine.dispose()


def counts(requests: int, **changes: Any) -> Counts:
    whole = {"latency": {30: requests}, "worked": {30: requests}, "told": requests}
    return Counts(**{"requests": requests, **whole, **changes})


def told(
    release: Release,
    live: Counts,
    copies: Counts | None = None,
    *,
    lots: dict[str, list[float]] | None = None,
) -> Told:
    copies = copies or Counts()
    second = Second(at=int(NOW) - 1, live=live, copies=copies)
    return Told(
        release=release.id, bento=release.tag, epoch=release.epoch, stage=release.stage, since=NOW - 100,
        live=live, copies=copies, seconds=[second], lots=lots or {},
    )  # fmt: skip


def stats(*releases: Told) -> Stats:
    return Stats(now=NOW, began=NOW - 1000, epoch=2, use_case="small", releases=list(releases))


def judging(place: Place, said: Stats | None, **changes: object) -> Judging:
    values = {
        "stats": lambda: said, "clicks": dict, "trouble": lambda release: None,
        "answers": lambda: champion(place).id,
    }  # fmt: skip
    return Judging(place=place, case=CASE, **{**values, **changes})  # type: ignore[arg-type]


def test_a_challenger_goes_on_when_it_was_counted_long_enough_and_its_ruling_is_told(place: Place) -> None:
    now = challenger(place)
    said = stats(told(champion(place), counts(5000)), told(now, Counts(), counts(500)))
    judge = judging(place, said)
    first = judge.once()
    assert first is not None and first.course == "go on", "of the champion, only what came since is counted"
    said.releases[0].live = counts(5600)
    ruling = judge.once()
    assert ruling is not None and ruling.course == "advance"
    assert (challenger(place).stage, challenger(place).share) == ("canary", 0.1)
    shown = last_ruling(place.settings.run)
    assert shown is not None and (shown["release"], shown["course"]) == (now.id, "advance")
    assert "500 answers" in shown["sentences"][0]


SLOW = {55: 100, 60: 800}


@pytest.mark.parametrize(
    ("ours", "course"),
    [
        ({"worked": SLOW}, "take back"),
        ({"latency": SLOW}, "advance"),
        ({"latency": SLOW, "told": 400}, "take back"),
    ],
    ids=["slow", "waits", "does not tell"],
)
def test_latency_is_without_what_was_waited_in_line_where_both_tell_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, ours: dict[str, Any], course: str
) -> None:
    monkeypatch.setattr(Judging, "_carry", lambda self, release, ruling: None)
    usual = counts(900, latency={50: 900})
    slow = {"latency": SLOW} if course == "take back" else {}  # what people see of it
    said = stats(told(champion(place), usual), told(challenger(place), counts(900, **{**slow, **ours})))
    judge = judging(place, said)
    judge.baselines = {challenger(place).id: Baseline(live=Counts())}
    ruling = judge.once()
    assert ruling is not None and ruling.course == course, ruling.sentences


@pytest.mark.parametrize("said", [None, stats()], ids=["no gateway", "a gateway that counts nothing of it"])
def test_where_nobody_counts_it_waits_until_patience_is_spent(place: Place, said: Stats | None) -> None:
    before = challenger(place)
    ruling = judging(place, said).once()
    assert ruling is not None and ruling.course == "go on" and challenger(place) == before
    late = judging(place, said, clock=lambda: datetime.now(UTC) + timedelta(hours=2))
    ruling = late.once()
    assert ruling is not None and ruling.course == "take back" and place.catalog.challenger("small") is None


def test_what_does_not_come_up_is_taken_back_and_a_champion_gives_way_to_who_answers(place: Place) -> None:
    first, now = champion(place), challenger(place)
    trouble = Trouble(times=5, said="small:1 did not come up; see logs/service-1.log")
    judging(place, None, trouble=lambda release: Trouble(times=4, said="the fourth start is still on")).once()
    assert challenger(place) == now
    judging(place, None, trouble=lambda release: trouble).once()
    assert place.catalog.challenger("small") is None and champion(place) == first
    last = place.catalog.get(place.catalog.releases("small")[0]["id"])
    assert isinstance(last, Release) and last.stage == "retired"
    retired = place.catalog.get(last.decision)
    assert isinstance(retired, Decision) and "4 starts" in retired.sentences[1]
    from flows.quarantine import end, in_force

    [kept] = in_force(place)
    end(place, kept.id, "mended", "Ada")
    loser = next(one for one in place.catalog.find(Candidate, "small") if one.family == "popularity")
    steer.promote(place, loser.id, "Ada", "again", "champion")
    judging(place, None, trouble=lambda release: trouble, answers=lambda: first.id).once()
    assert champion(place).bento == first.bento and champion(place).epoch == 5
    assert judging(place, None, trouble=lambda release: trouble, answers=lambda: None).once() is None
    assert verify(place, lambda what, count: None)["faults"] == []


def test_a_new_champion_that_fails_more_than_the_one_before_is_rolled_back(place: Place) -> None:
    first, now = champion(place), challenger(place)
    rollout.advance(place, CASE, now, ("Nothing is surely worse.",))
    rollout.advance(place, CASE, challenger(place), ("Nothing is surely worse.",))
    fresh = champion(place)
    assert fresh.bento == now.bento
    well = judging(place, stats(told(first, counts(9000)), told(fresh, counts(2000)))).once()
    assert well is not None and well.course == "go on" and champion(place) == fresh
    judging(place, stats(told(first, counts(9000)), told(fresh, counts(2000, errors=200)))).once()
    assert champion(place).bento == first.bento and champion(place).epoch == fresh.epoch + 1


def succeeded(place: Place) -> tuple[Release, Release]:
    """Return the champion before and the one that the rollout has just brought to everybody."""
    first = champion(place)
    for _ in range(2):
        rollout.advance(place, CASE, challenger(place), ("Nothing is surely worse.",))
    return first, champion(place)


def test_a_new_champion_is_not_held_against_a_gateway_that_has_forgotten(place: Place) -> None:
    """3% of its answers fail, and nobody knows how many of the one before did."""
    first, fresh = succeeded(place)
    for forgotten in ([], [told(first, counts(0))]):
        said = stats(told(fresh, counts(2000, errors=60)), *forgotten)
        ruling = judging(place, said).once()
        assert ruling is not None and ruling.course == "go on" and champion(place) == fresh
        assert "Nothing is known of the champion before" in ruling.sentences[0]
    judging(place, stats(told(fresh, counts(2000, errors=1900)))).once()
    assert champion(place).bento == first.bento


@pytest.mark.parametrize(("usual", "course"), [(9, "take back"), (270, "go on")])
def test_what_was_counted_of_the_champion_before_outlives_the_gateway(
    place: Place, usual: int, course: str
) -> None:
    first, fresh = succeeded(place)
    early = judging(place, stats(told(first, counts(9000, errors=usual)))).once()
    assert early is not None and early.course == "go on", "the new one is not even up"
    restarted = stats(told(fresh, counts(2000, errors=60)), told(first, counts(3)))
    ruling = judging(place, restarted).once()
    assert ruling is not None and ruling.course == course
    assert (champion(place) == fresh) == (course == "go on")


def test_what_is_kept_of_another_champion_or_version_is_passed_over(place: Place) -> None:
    first, fresh = succeeded(place)
    path = place.settings.run / FORMER
    other = replace(told(first, counts(9000)), release="release-other")
    for content in (b"{", b'{"version": 1}', gateway_stats.write(stats(other))):
        path.write_bytes(content)
        ruling = judging(place, stats(told(fresh, counts(2000, errors=60)))).once()
        assert ruling is not None and ruling.course == "go on"
    judging(place, stats(told(first, counts(9000)), told(fresh, counts(10)))).once()
    assert gateway_stats.read(path.read_bytes()).of(first.id) is not None


def test_what_was_rolled_back_is_no_spare(place: Place) -> None:
    rollout.advance(place, CASE, challenger(place), ("Nothing is surely worse.",))
    rollout.advance(place, CASE, challenger(place), ("Nothing is surely worse.",))
    table = wanted(place, "small", CASE.rollout)
    assert table is not None and table.spare is not None
    steer.rollback(place, "small", "Ada", "it was bad")
    table = wanted(place, "small", CASE.rollout)
    assert table is not None and table.spare is None


def test_that_a_word_is_missing_is_said_once(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(rollout, "_approved", lambda *_: False)
    said = stats(told(champion(place), counts(5000)), told(challenger(place), Counts(), counts(500)))
    judge = judging(place, said)
    judge.once()
    said.releases[0].live = counts(5600)
    for _ in range(3):
        judge.once()
    assert [one.getMessage().partition(" could go on")[2] != "" for one in caplog.records] == [True]


def test_a_new_champion_is_watched_while_there_is_a_challenger_too(place: Place) -> None:
    first, now = champion(place), challenger(place)
    rollout.advance(place, CASE, now, ("Nothing is surely worse.",))
    rollout.advance(place, CASE, challenger(place), ("Nothing is surely worse.",))
    fresh = champion(place)
    before = place.catalog.get(place.catalog.get(first.bento).candidate)  # type: ignore[attr-defined]
    steer.promote(place, before.id, "Ada", "to compare", "shadow")
    beside = told(challenger(place), Counts(), counts(10))
    well = judging(place, stats(told(first, counts(9000)), told(fresh, counts(2000)), beside)).once()
    shown = last_ruling(place.settings.run)
    assert well is not None and shown is not None and shown["release"] == challenger(place).id
    judging(place, stats(told(first, counts(9000)), told(fresh, counts(2000, errors=200)), beside)).once()
    assert champion(place).bento == first.bento and champion(place).epoch > fresh.epoch


def test_fewer_clicks_by_lots_of_receipts(place: Place) -> None:
    rollout.advance(place, CASE, challenger(place), ("Nothing is surely worse.",))
    now = challenger(place)
    said = stats(
        told(champion(place), counts(5000), lots={"a": [*[0.0] * 6, NOW - 110, NOW - 90]}),
        told(now, counts(3000), lots={"b": [NOW - 90]}),
    )  # fmt: skip
    totals = totals_of(b'{"lots": {"a-7": [0, 0]}}')
    judge = judging(place, said, clicks=lambda: totals)
    judge.once()
    said.releases[0].live = counts(9000)
    totals = {"a-6": (90_000, 1_000), "a-7": (90_000, 3_600), "b-0": (30_000, 700)}
    ruling = judge.once()
    assert ruling is not None and ruling.course == "take back" and "clicked" in ruling.sentences[0]
    assert place.catalog.challenger("small") is None


@pytest.mark.parametrize("delay", [10.0, 30.0, 120.0])
def test_who_is_as_good_is_not_taken_back_for_clicks_that_come_late(delay: float) -> None:
    """A thousand answers a second, 5 % of them the challenger's; each is clicked by one in twenty, some time later."""
    falsely = sum(too_few_clicks(seed, delay) for seed in range(20))
    assert falsely == 0, "twenty tests at alpha = 0.01 have not even one false alarm to expect"


def too_few_clicks(seed: int, delay: float) -> bool:
    """Say whether two minutes of a stage find fewer clicks on a challenger that is exactly as good."""
    rng = np.random.default_rng(seed)

    def flow(rate: float, begin: float) -> tuple[np.ndarray, np.ndarray]:
        shown = np.sort(rng.uniform(begin, 120, rng.poisson(rate * (120 - begin))))
        clicked = np.where(rng.random(len(shown)) < 0.05, shown + rng.exponential(delay, len(shown)), np.inf)
        return shown, clicked

    arms = {"champion": flow(1000, -300), "canary": flow(50, 0)}
    totals: dict[str, tuple[int, int]] = {}
    judge = Judging(
        place=None, case=CASE, stats=lambda: None, clicks=lambda: totals, trouble=lambda release: None,
        answers=lambda: None,
    )  # type: ignore[arg-type]  # fmt: skip
    for now in range(0, 121, 5):
        both = []
        for stage, (shown, clicked) in arms.items():
            until = int(np.searchsorted(shown, now))
            held: dict[str, list[float]] = {stage: []}
            for first in range(0, until, LOT):
                within, lot = slice(first, min(first + LOT, until)), f"{stage}-{first // LOT}"
                held[stage].append(NOW + shown[first])
                totals[lot] = (within.stop - within.start, int((clicked[within] <= now).sum()))
            both.append(
                Told(release=stage, bento="", epoch=1, stage=stage, since=NOW, live=counts(until), lots=held)
            )
        counted = judge._counted(stats(*both), both[1], both[0])
        if fewer_clicks(counted.challenger, counted.champion, 0.01):
            return True
    assert counted.champion.shown > 50_000 and counted.champion.clicks, "both are compared"
    return False


def test_a_ruling_that_comes_late_changes_nothing(place: Place) -> None:
    """Somebody withdraws the challenger between the judge's look and its word."""
    said = stats(
        told(champion(place), counts(5000)), told(challenger(place), Counts(), counts(500, errors=250))
    )

    def meanwhile() -> Stats:
        steer.withdraw(place, "small", "Ada", "enough")
        return said

    ruling = judging(place, said, stats=meanwhile).once()
    assert ruling is not None and ruling.course == "take back" and place.catalog.epoch("small") == 3

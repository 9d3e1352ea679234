"""The judge: sequences that hold however often they are looked at, faults found within seconds, no data no promotion.

False alarms and power are counted in simulations with fixed seeds: a hundred requests a second, copies of all of them, the judge
asked every second as the supervisor asks it.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from counterfoil.types import Rollout
from flows.judge import (
    LATELY_SECONDS,
    UNKNOWN,
    Arm,
    Counted,
    fewer_clicks,
    judge,
    quantile_sequence,
    sequence,
    watch,
)

BOUNDS = tuple(round(0.1 * 1.1**step, 4) for step in range(141))
QUICK = Rollout(stage_seconds=60.0, stage_requests=200)
PER_SECOND, MINUTE = 100, 60


class Stream:
    """Answers of one release, second by second: how many fail, are empty, how long they take (log-normal around `ms`)."""

    def __init__(
        self, random: np.random.Generator, *, errors: float = 0.001, empty: float = 0.002, ms: float = 3.0
    ) -> None:
        self.random, self.errors, self.empty, self.ms = random, errors, empty, ms
        self.seconds: list[Arm] = []
        self.total = Arm()

    def took(self, requests: int) -> np.ndarray:
        return self.random.lognormal(math.log(self.ms), 0.5, requests)

    def second(self, requests: int = PER_SECOND, live: int | None = None) -> None:
        took = np.searchsorted(BOUNDS, self.took(requests))
        latency = dict(zip(*(found.tolist() for found in np.unique(took, return_counts=True)), strict=True))
        fresh = Arm(
            requests=requests,
            live=requests if live is None else live,
            failed=int(self.random.binomial(requests, self.errors)),
            empty=int(self.random.binomial(requests, self.empty)),
            latency=latency,
        )
        self.seconds = [*self.seconds[1 - MINUTE :], fresh]
        self.total = summed([self.total, fresh])


def lately(stream: Stream) -> Arm:
    return summed(stream.seconds[-LATELY_SECONDS:])


def summed(arms: list[Arm]) -> Arm:
    latency: dict[int, int] = {}
    for arm in arms:
        for place, count in arm.latency.items():
            latency[place] = latency.get(place, 0) + count
    total = {
        name: sum(getattr(arm, name) for arm in arms) for name in ("requests", "live", "failed", "empty")
    }
    return Arm(latency=latency, **total)


def until_taken_back(
    challenger: Stream, champion: Stream, seconds: int, rollout: Rollout = QUICK
) -> int | None:
    """Return the second in which the challenger is taken back, None when it is not."""
    endless = replace(rollout, stage_seconds=1e9)
    for second in range(1, seconds + 1):
        challenger.second(live=1)
        champion.second()
        counted = Counted(
            challenger=challenger.total,
            champion=champion.total,
            challenger_lately=lately(challenger),
            champion_lately=lately(champion),
            champion_minute=summed(champion.seconds),
        )
        if judge(endless, "canary", second, counted, BOUNDS).course == "take back":
            return second
    return None


# sequences


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.5])
def test_a_rate_leaves_its_sequence_at_any_time_no_more_often_than_is_allowed(rate: float) -> None:
    random, alpha, missed = np.random.default_rng(1), 0.05, 0
    for _ in range(400):
        drawn = random.random(2000) < rate
        for trials in np.geomspace(10, 2000, 30).astype(int).tolist():
            low, high = sequence(int(drawn[:trials].sum()), trials, alpha)
            if not low <= rate <= high:
                missed += 1
                break
    assert missed / 400 <= alpha


def test_a_sequence_closes_in_on_the_rate() -> None:
    assert sequence(0, 0, 0.01) == (0.0, 1.0)
    widths = [high - low for low, high in (sequence(n // 10, n, 0.01) for n in (10, 100, 1000, 100_000))]
    assert widths == sorted(widths, reverse=True) and widths[-1] < 0.01
    low, high = sequence(0, 1000, 0.01)
    assert low == 0.0 and 0.005 < high < 0.01
    low, high = sequence(10, 10, 0.01)
    assert high == 1.0 and 0.3 < low < 0.6


def test_a_quantile_leaves_its_sequence_no_more_often_than_is_allowed() -> None:
    random, alpha, missed = np.random.default_rng(2), 0.05, 0
    truth = math.exp(math.log(3.0) + 0.5 * 1.2815515655446004)
    for _ in range(300):
        places = np.searchsorted(BOUNDS, random.lognormal(math.log(3.0), 0.5, 1500))
        for trials in np.geomspace(20, 1500, 20).astype(int).tolist():
            found = dict(zip(*map(list, np.unique(places[:trials], return_counts=True)), strict=True))
            low, high = quantile_sequence(found, 0.9, alpha, BOUNDS)
            if not low <= truth <= high:
                missed += 1
                break
    assert missed / 300 <= alpha
    assert 0.5 * truth < low < truth < high < 2 * truth
    assert quantile_sequence({}, 0.9, alpha, BOUNDS) == (0.0, math.inf)


def test_answers_that_all_take_the_same_time_are_between_the_edges_of_their_bucket() -> None:
    """As those of somebody who sleeps: no quicker one says where the quantile cannot be."""
    assert quantile_sequence({73: 2}, 0.9, 0.005, BOUNDS) == (0.0, math.inf), "too few to be sure"
    assert quantile_sequence({73: 10}, 0.9, 0.005, BOUNDS) == (BOUNDS[72], math.inf)
    assert quantile_sequence({73: 200}, 0.9, 0.005, BOUNDS) == (BOUNDS[72], BOUNDS[73])
    assert quantile_sequence({0: 200}, 0.9, 0.005, BOUNDS) == (0.0, BOUNDS[0])
    beyond = len(BOUNDS)
    assert quantile_sequence({beyond: 200}, 0.9, 0.005, BOUNDS) == (BOUNDS[-1], math.inf)


def test_clicks_raise_no_more_false_alarms_than_allowed_and_a_loss_is_found() -> None:
    random, alpha = np.random.default_rng(3), 0.05

    def alarm(ours: float, theirs: float, looks: int) -> int | None:
        shown = clicks = other = 0
        for look in range(1, looks + 1):
            shown += 500
            clicks += int(random.binomial(500, ours))
            other += int(random.binomial(500, theirs))
            if fewer_clicks(Arm(shown=shown, clicks=clicks), Arm(shown=shown, clicks=other), alpha):
                return look
        return None

    assert sum(alarm(0.04, 0.04, 200) is not None for _ in range(400)) / 400 <= alpha
    found = [alarm(0.028, 0.04, 200) for _ in range(40)]
    assert all(found) and np.median([look for look in found if look]) < 30
    assert not any(alarm(0.05, 0.04, 100) for _ in range(40)), "more clicks are no fault"


# false alarms and power


def test_an_equal_challenger_is_hardly_ever_taken_back() -> None:
    """A/A, two minutes each, asked every second, four tests twice over: each may err once in a hundred times."""
    alarms = 0
    for seed in range(40):
        random = np.random.default_rng([4, seed])
        alarms += until_taken_back(Stream(random), Stream(random), 120) is not None
    assert alarms <= 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [({"ms": 9.0}, "times as much"), ({"errors": 0.05}, "failed"), ({"empty": 1.0}, "were empty")],
    ids=["latency x3", "5% errors", "empty lists"],
)
def test_a_fault_is_found_within_seconds(fault: dict[str, float], said: str) -> None:
    """A hundred requests a second, all of them copied: from the first second on, and when it comes after two good minutes."""
    for seed in range(6):
        random = np.random.default_rng([5, seed])
        found = until_taken_back(Stream(random, **fault), Stream(random), 60)
        assert found is not None and found <= 10
        good, champion = Stream(random), Stream(random)
        assert until_taken_back(good, champion, 120) is None
        for name, value in fault.items():
            setattr(good, name, value)
        late = until_taken_back(good, champion, 60)
        assert late is not None and late <= 10
    counted = Counted(
        challenger=good.total, champion=champion.total,
        challenger_lately=lately(good), champion_lately=lately(champion),
            champion_minute=summed(champion.seconds),
    )  # fmt: skip
    sentences = judge(QUICK, "canary", 300, counted, BOUNDS).sentences
    assert any(said in sentence for sentence in sentences) and all(len(one) < 400 for one in sentences)


class Waiting(Stream):
    """Answers that take the same each, but for an eighth that waited for a processor: some five times as long as a quick one."""

    def took(self, requests: int) -> np.ndarray:
        waited = np.where(self.random.random(requests) < 0.125, 15.0, 0.0)
        return waited + self.random.lognormal(math.log(self.ms), 0.1, requests)


def test_one_that_is_three_times_as_slow_is_found_where_long_tails_hide_it() -> None:
    for seed in range(4):
        random = np.random.default_rng([6, seed])
        found = until_taken_back(Waiting(random, ms=9.0), Waiting(random), 60)
        assert found is not None and found <= 3
        assert until_taken_back(Waiting(random), Waiting(random), 60) is None


# the course


def arm(requests: int, **changes: int | dict[int, int]) -> Arm:
    values = {"live": requests, "latency": {30: requests}, **changes}
    return Arm(requests=requests, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stage", "seconds", "challenger", "champion", "course"),
    [
        ("shadow", 60, arm(200, live=0), arm(5000), "advance"),
        ("canary", 60, arm(5000, live=200), arm(5000), "advance"),
        ("shadow", 59, arm(5000, live=0), arm(5000), "go on"),
        ("shadow", 60, arm(199, live=0), arm(5000), "go on"),
        ("canary", 60, arm(5000, live=199), arm(5000), "go on"),
        ("canary", 60, arm(5000), arm(10), "go on"),
        ("canary", 60, Arm(), Arm(), "go on"),
        ("canary", 1e9, Arm(), Arm(), "take back"),
        ("canary", 1e9, arm(5000), Arm(), "take back"),
        ("canary", 60, arm(300, failed=4), arm(5000), "go on"),
        ("canary", 1e9, arm(300, failed=4), arm(5000), "take back"),
        ("canary", 10, arm(300, failed=60), arm(5000), "take back"),
    ],
)
def test_no_data_is_no_promotion_and_patience_ends(
    stage: str, seconds: float, challenger: Arm, champion: Arm, course: str
) -> None:
    counted = Counted(challenger=challenger, champion=champion)
    ruling = judge(QUICK, stage, seconds, counted, BOUNDS)  # type: ignore[arg-type]
    assert ruling.course == course and ruling.sentences
    if seconds == 1e9:
        assert "patience" in ruling.sentences[0]


def test_a_new_champion_is_held_against_the_one_before() -> None:
    good, bad = arm(3000, failed=3), arm(3000, failed=150)
    assert watch(QUICK, Counted(challenger=good, champion=arm(90_000, failed=90)), BOUNDS).course == "go on"
    assert (
        watch(QUICK, Counted(challenger=bad, champion=arm(90_000, failed=90)), BOUNDS).course == "take back"
    )
    assert watch(QUICK, Counted(challenger=bad, champion=arm(3000, failed=150)), BOUNDS).course == "go on"


@pytest.mark.parametrize(
    ("fresh", "lately", "course"),
    [
        (arm(3000, failed=3), Arm(), "go on"),
        (arm(3000, failed=150, empty=600), Arm(), "go on"),  # a fifth: who knows what is usual?
        (arm(3000, failed=1520), Arm(), "go on"),  # above half, though not surely
        (arm(3000, failed=1800), Arm(), "take back"),
        (arm(3000, empty=3000), Arm(), "take back"),
        (arm(8, failed=8), Arm(), "go on"),
        (arm(90_000, failed=90), arm(1000, failed=900), "take back"),
        (arm(3000, latency={130: 3000}), Arm(), "go on"),
        (Arm(), Arm(), "go on"),
    ],
)
def test_a_new_champion_with_nobody_to_hold_it_against_goes_on_unless_half_of_its_answers_are_none(
    fresh: Arm, lately: Arm, course: str
) -> None:
    ruling = watch(QUICK, Counted(challenger=fresh, champion=Arm(), challenger_lately=lately), BOUNDS)
    assert ruling.course == course and ruling.sentences[-1] == UNKNOWN
    assert len(ruling.sentences) == (2 if course == "take back" else 1)


def test_what_befalls_both_at_once_is_not_laid_at_the_challengers_door() -> None:
    """The online store goes: from one second to the next a third of all answers is empty, whoever gives them."""
    for seed in range(6):
        random = np.random.default_rng([6, seed])
        challenger, champion = Stream(random), Stream(random)
        assert until_taken_back(challenger, champion, 90) is None
        challenger.empty = champion.empty = 0.33
        challenger.ms = champion.ms = 12.0
        assert until_taken_back(challenger, champion, 30) is None

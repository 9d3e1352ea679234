"""What the gateway counts: rates of keys, windows of seconds, the histogram, and the shape that is read back."""

import itertools
import time
import tracemalloc
from dataclasses import replace

import pytest

from bentos.gateway import stats
from bentos.gateway.rates import Rates
from bentos.gateway.stats import BOUNDS_MS, Counts, bucket, read, write
from bentos.gateway.tally import LOTS, RELEASES, Tally
from bentos.routes import Route, Routes
from counterfoil.errors import ContractError
from counterfoil.receipts.store import LOT

CHAMPION = Route(release="r1", bento="b:1", epoch=1, url="http://a", stage="champion")
CANARY = Route(release="r2", bento="b:2", epoch=2, url="http://b", stage="canary", share=0.1)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_key_may_ask_its_burst_and_then_at_its_rate() -> None:
    rates = Rates()
    assert [rates.wait("k", 2.0, 0.0) for _ in range(3)] == [0, 0, 1]
    assert rates.wait("k", 2.0, 0.5) == 0
    assert rates.wait("k", 2.0, 0.5) == 1
    assert rates.wait("other", 2.0, 0.5) == 0


def test_a_slow_rate_says_how_long_to_wait() -> None:
    rates = Rates()
    assert [rates.wait("k", 0.1, 0.0), rates.wait("k", 0.1, 0.0), rates.wait("k", 0.1, 9.0)] == [0, 10, 1]
    assert rates.wait("k", 0.1, 10.5) == 0


def test_a_long_pause_saves_up_no_more_than_a_burst() -> None:
    rates = Rates()
    rates.wait("k", 2.0, 0.0)
    assert [rates.wait("k", 2.0, 1e6) for _ in range(3)] == [0, 0, 1]


def test_a_key_without_a_rate_may_always_ask() -> None:
    assert {Rates().wait("k", None, 0.0) for _ in range(1000)} == {0}


def test_the_histogram_reaches_a_minute_in_steps_of_a_tenth() -> None:
    assert BOUNDS_MS[0] == 0.1 and BOUNDS_MS[-1] > 60_000
    assert all(1.09 < high / low < 1.11 for low, high in itertools.pairwise(BOUNDS_MS))
    assert (bucket(0.05), bucket(0.1), bucket(0.1001), bucket(1e9)) == (0, 0, 1, len(BOUNDS_MS))


@pytest.mark.parametrize("ms", [0.3, 2.0, 17.0, 950.0])
def test_a_quantile_is_right_within_a_tenth(ms: float) -> None:
    counts = Counts(latency={bucket(ms): 99, bucket(ms * 10): 1})
    assert ms <= counts.quantile(0.5) <= ms * 1.1  # type: ignore[operator]
    assert ms * 10 <= counts.quantile(1.0) <= ms * 11  # type: ignore[operator]
    assert Counts().quantile(0.5) is None


def filled() -> tuple[Tally, Clock]:
    clock = Clock()
    tally = Tally(clock)
    tally.take(Routes(use_case="recommendation", epoch=2, champion=CHAMPION, challenger=CANARY))
    for second in range(90):
        clock.now = 1_000.0 + second
        tally.note(CHAMPION, "answered", 2.0)
        tally.note(CANARY, "failed", 3.0)
        tally.note(CANARY, "late", 1000.0)
        tally.note(CANARY, "refused", 1.0)
        tally.note(CHAMPION, "answered", 2.0, copy=True, empty=True, degraded=True)
    return tally, clock


def test_totals_are_since_the_epoch_and_windows_are_of_whole_seconds() -> None:
    tally, clock = filled()
    told = tally.told(0)
    canary = told.of("r2")
    assert canary is not None
    assert (canary.live.requests, canary.live.errors, canary.live.timeouts, canary.live.refused) == (
        270,
        180,
        90,
        90,
    )
    assert sum(canary.live.latency.values()) == 180
    for seconds in (1, 10, 60):
        live, copies = canary.window(clock.now, seconds)
        assert (live.errors, copies.requests) == (2 * (seconds + 1), 0)


def test_copies_are_counted_apart() -> None:
    tally, _ = filled()
    champion = tally.told(0).of("r1")
    assert champion is not None
    assert (champion.live.empty, champion.copies.empty, champion.copies.degraded) == (0, 90, 90)


def test_what_is_compared_is_averaged_over_what_was_compared() -> None:
    tally, clock = filled()
    for share in (1.0, 0.5, None):
        tally.compared(CANARY, share)
    copies = tally.told(0).of("r2").window(clock.now, 1)[1]  # type: ignore[union-attr]
    assert (copies.compared, copies.unlike, copies.overlap) == (3, 1, 1.5)


def test_lots_of_receipts_are_remembered_since_when_and_bounded() -> None:
    tally, clock = filled()
    for number in range(LOTS + 5):
        tally.receipt(CHAMPION, f"receipt-20260412T093401-{number:08x}-1")
    first = clock.now
    clock.now += 5
    for number in (LOT, LOT + 1, 12 * LOT):
        tally.receipt(CHAMPION, f"receipt-20260412T093401-{LOTS:08x}-{number}")
    tally.receipt(CHAMPION, "no receipt of ours")
    lots = tally.told(0).of("r1").since_by_lot()  # type: ignore[union-attr]
    assert len(lots) == LOTS
    named = f"20260412T093401-{LOTS:08x}"
    assert {lot: since for lot, since in lots.items() if lot.startswith(named)} == {
        f"{named}-0": first, f"{named}-1": first + 5, f"{named}-11": first + 5,
    }  # fmt: skip
    assert "20260412T093401-00000000-0" not in lots
    tally.receipt(CHAMPION, f"receipt-20260412T093401-{LOTS:08x}-{10**12 - 1}")  # nobody gave so many
    assert len(tally.told(0).of("r1").since_by_lot()) == LOTS  # type: ignore[union-attr]


def test_a_segment_that_goes_on_outlives_those_that_began_after_it_and_ended() -> None:
    tally, _ = filled()
    for number in range(LOTS):
        tally.receipt(CHAMPION, f"receipt-20260412T093401-{number:08x}-1")
    tally.receipt(CHAMPION, f"receipt-20260412T093401-00000000-{LOT + 1}")
    lots = tally.told(0).of("r1").since_by_lot()  # type: ignore[union-attr]
    assert {"20260412T093401-00000000-0", "20260412T093401-00000000-1"} < lots.keys()
    assert len(lots) == LOTS and "20260412T093401-00000001-0" not in lots


def test_who_answers_for_a_quarter_of_an_hour_takes_no_memory_worth_telling_for_its_lots() -> None:
    tally, _ = filled()
    tracemalloc.start()
    try:
        for number in range(0, 4096 * 96, LOT):  # some 6,000 lots
            tally.receipt(CHAMPION, f"receipt-20260412T093401-{number // 4096:08x}-{number % 4096 + 1}")
        assert tracemalloc.get_traced_memory()[0] < 200_000  # as a dictionary by lot: 1.2 MB
    finally:
        tracemalloc.stop()
    assert len(tally.told(0).of("r1").since_by_lot()) == 96 * 64  # type: ignore[union-attr]


def test_a_release_at_a_new_epoch_begins_anew() -> None:
    tally, _ = filled()
    promoted = Route(release="r2", bento="b:2", epoch=3, url="http://b", stage="champion")
    tally.take(Routes(use_case="recommendation", epoch=3, champion=promoted))
    newest = tally.told(0).of("r2")
    assert newest is not None and (newest.epoch, newest.stage, newest.live.requests) == (3, "champion", 0)


def test_the_oldest_releases_are_forgotten() -> None:
    tally = Tally(Clock())
    for epoch in range(1, 100):
        champion = Route(release=f"r{epoch}", bento="b:1", epoch=epoch, url="http://a", stage="champion")
        tally.take(Routes(use_case="recommendation", epoch=epoch, champion=champion))
    told = tally.told(0).releases
    assert [one.epoch for one in told] == list(range(84, 100))


def test_who_answers_and_the_champion_before_are_remembered_whoever_comes_and_goes() -> None:
    """A champion of long ago sees many challengers; what was counted of it is what its successor is held against."""
    tally = Tally(Clock())

    def challenged(champion: Route, epochs: range) -> None:
        for epoch in epochs:
            canary = replace(CANARY, release=f"c{epoch}", epoch=epoch)
            tally.take(Routes(use_case="r", epoch=epoch, champion=champion, challenger=canary))
            tally.note(champion, "answered", 2.0)

    challenged(CHAMPION, range(2, 42))
    successor = replace(CHAMPION, release="r42", epoch=42)
    challenged(successor, range(43, 83))
    told = tally.told(0)
    counted = {name: held.live.requests for name in ("r1", "r42") if (held := told.of(name)) is not None}
    assert counted == {"r1": 40, "r42": 40}
    assert len(told.releases) == RELEASES and told.of("c69") is not None and told.of("c68") is None


def test_what_is_written_is_read_back() -> None:
    tally, _ = filled()
    tally.receipt(CHAMPION, "receipt-20260412T093401-7f3a9c1e-12")
    told = tally.told(3)
    assert stats.read(stats.write(told)) == told


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"version": 1}', b'{"version": 3}'])
def test_what_is_no_stats_is_refused(content: bytes) -> None:
    with pytest.raises(ContractError):
        stats.read(content)


def test_telling_everything_takes_no_time_that_somebody_would_notice() -> None:
    """The judge asks every second, and whoever asks for an answer meanwhile waits for it."""
    clock = Clock()
    tally = Tally(clock)
    for epoch in range(1, 17):
        champion = Route(release=f"r{epoch}", bento="b:1", epoch=epoch, url="http://a", stage="champion")
        tally.take(Routes(use_case="recommendation", epoch=epoch, champion=champion))
        for number in range(61 * 40):
            clock.now += 0.025
            tally.note(champion, "answered", 0.2 * 1.1 ** (number % 60), copy=number % 2 == 0)
            tally.receipt(champion, f"receipt-20260412T093401-{number:08x}-1")
    began = time.process_time()
    content = stats.write(tally.told(0))
    assert time.process_time() - began < 0.05  # measured: 0.003; by copying dataclasses 0.3
    assert len(content) < 400_000
    first, last = (stats.read(content).releases[at] for at in (0, -1))
    assert len(last.since_by_lot()) == 2440 and not first.lots


def test_what_was_waited_in_line_is_told_apart_and_is_no_part_of_a_copys_latency() -> None:
    tally = Tally(Clock())
    tally.note(CHAMPION, "answered", 60.0, waited_ms=55.0)
    tally.note(CHAMPION, "answered", 60.0)
    tally.note(CHAMPION, "answered", 60.0, waited_ms=55.0, copy=True)
    champion = tally.told(0).of("r1")
    assert champion is not None
    assert champion.live.latency == {bucket(60.0): 2} and champion.live.told == 1
    assert champion.live.worked == {bucket(5.0): 1, bucket(60.0): 1}
    assert champion.copies.latency == champion.copies.worked == {bucket(5.0): 1}
    assert read(write(tally.told(0))) == tally.told(0)

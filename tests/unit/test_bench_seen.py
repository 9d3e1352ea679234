"""What the bench says of how soon answers know: misses, shares of a histogram, and the lines that a person reads."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.serving import events, seen, table
from bench.serving.home import Home
from bench.serving.seen import Collector
from bench.serving.shop import Size, person_id


def test_a_lag_of_more_than_a_second_is_a_miss_and_who_never_knew_has_no_lag() -> None:
    found = seen.told([10.0, 20.0, 1000.0, 1000.5, float("inf")])
    assert (found["asked"], found["missed"], found["never"]) == (5, 2, 1)
    assert (found["ms"]["p50"], found["ms"]["max"]) == (20.0, 1000.5)
    assert seen.told([])["median"] is None


def test_the_collectors_lag_is_the_bound_of_the_bucket_of_what_came_meanwhile() -> None:
    before = {"events": 5.0, "0.1": 90.0, "0.5": 90.0, "1.0": 90.0, "+Inf": 90.0}
    after = {"events": 9.0, "0.1": 150.0, "0.5": 188.0, "1.0": 190.0, "+Inf": 190.0}
    assert Collector.lag_ms(before, after) == {"p50": 100.0, "p95": 500.0, "max": 1000.0}
    assert Collector.lag_ms(after, after) == {} == Collector.lag_ms({}, {"events": 1.0})


def test_the_load_speaks_of_everybody_but_those_who_are_asked_for(tmp_path: Path) -> None:
    held: Any = SimpleNamespace(port=1, headers={})
    home = Home(folder=tmp_path, size=Size(items=50, people=900), made={"people": 900})
    for batch in (1, 500):
        plan = events._plan(home, held, batch, rate=3.0)
        text = "".join(plan.bodies)
        assert all(f'"{person_id(number)}"' in text for number in range(200, 900))
        assert not any(f'"{person_id(number)}"' in text for number in range(200))
        assert text.count('"id"') == 700 * (events.MIXED if batch > 1 else 1)


@pytest.mark.parametrize(("missed", "word"), [(0, "held"), (2, "BROKEN")])
def test_a_person_reads_whether_the_second_held(missed: int, word: str) -> None:
    ms = {"p50": 1.0, "p95": 2.0, "p99": 3.0, "max": 4.0}
    load = {"ms": ms, "failed": 7, "events_a_second": 30_000}
    lags = {"ms": ms, "asked": 9, "missed": missed, "never": 0, "median": 1.0}
    own = {"cpu_ms_per_1000": 50.0, "events_a_second": 19_000.0, "lag_ms": {"p50": 300.0}}
    under = {"load": load, "visible": lags, "collector": own, "cores": {"collector": 0.9, "probe": 0.001}}
    lines = table.events(
        {"batches": load, "singles": load, "visible": lags, "batches at 20,000": under, "load": [0.0, 1.0]}
    )
    [verdict] = [line for line in lines.splitlines() if "batches at 20,000, missed" in line]
    assert verdict.startswith(word)
    assert "cores: collector 0.90\n" in lines and "19,000 a second came  (7 failed)" in lines

"""What the bench makes of what it saw: stickiness, growth of memory, lines and plots."""

import os
import subprocess
import sys

import pytest

from bench.serving import plot, soak, switch, table


def seen(number: int, release: str, due: float, fault: str = "") -> dict:
    headers = {"x-counterfoil-release": release}
    told = {"number": number, "due": due, "done": due + 0.01, "fault": fault, "headers": headers}
    return {**told, "degraded": fault == "degraded", "fault": "" if fault == "degraded" else fault}


def test_everybody_stays_with_one_arm_while_a_challenger_answers() -> None:
    kept = [seen(who, "old", who / 10) for who in range(4)]
    for turn in range(3):
        kept += [seen(who, "new" if who == 3 else "old", 1.0 + who / 10 + turn) for who in range(4)]
    kept += [seen(who, "old", 5.0 + who / 10) for who in range(4)]
    assert switch.sticky(kept, people=4, canaries={"new"}) == {"asked_again": 4, "stuck": 4, "sticky": 1.0}
    # the one in the challenger's arm is answered by the champion in between
    kept.append(seen(3, "old", 2.5))
    assert switch.sticky(kept, people=4, canaries={"new"}) == {"asked_again": 4, "stuck": 3, "sticky": 0.75}


def test_what_was_under_way_at_a_switch_says_nothing_of_stickiness() -> None:
    """Two come at once, and the later one is assigned first: by the routes of before."""
    kept = [seen(0, "old", 0.0), seen(1, "old", 0.1), seen(0, "new", 1.0), seen(1, "old", 1.005)]
    kept += [seen(0, "new", 2.0), seen(1, "new", 2.1), seen(0, "new", 3.0), seen(1, "new", 3.1)]
    kept += [seen(2, "old", 2.5), seen(2, "old", 2.7)]
    assert switch.sticky(kept, people=3, canaries={"new"}) == {"asked_again": 3, "stuck": 3, "sticky": 1.0}


def test_a_champion_that_a_bento_names_before_the_routes_do_has_no_arms() -> None:
    kept = [
        seen(0, "old", 0.0),
        seen(1, "new", 1.0),
        seen(0, "old", 1.1),
        seen(1, "new", 1.2),
        seen(0, "old", 1.3),
    ]
    kept += [seen(1, "new", 1.4), seen(1, "promoted", 2.0), seen(0, "old", 2.02), seen(1, "promoted", 3.0)]
    kept += [seen(0, "promoted", 3.1)]
    assert switch.sticky(kept, people=2, canaries={"new"}) == {"asked_again": 2, "stuck": 2, "sticky": 1.0}


def test_what_failed_says_nothing_of_stickiness() -> None:
    kept = [
        seen(0, "a", 0.0),
        seen(1, "b", 0.5),
        seen(0, "b", 0.7, "status 500"),
        seen(0, "a", 1.0),
        seen(1, "b", 1.1),
    ]
    assert switch.sticky(kept, people=2, canaries={"b"})["sticky"] == 1.0
    kept += [
        seen(1, "a", 1.2, "degraded"),
        seen(1, "b", 1.3),
    ]  # from the last good list, which is the champion's
    assert switch.sticky(kept, people=2, canaries={"b"})["sticky"] == 1.0


def test_growth_is_of_the_last_minutes_and_leaves_the_start_out() -> None:
    start = [(float(second), int(1e9 * second / 30)) for second in range(0, 30, 5)]
    flat = [(float(second), 1_000_000_000) for second in range(30, 700, 5)]
    assert soak.growth(start + flat) == pytest.approx(0.0, abs=1e-6)
    grows = [(float(second), int(1e9 * (1 + second / 10_000))) for second in range(0, 1000, 5)]
    assert soak.growth(grows) == pytest.approx(0.06, rel=0.05)


CHILD = "import time; held = bytearray(b'x' * 50_000_000); print(flush=True); time.sleep(60)"


def test_memory_is_what_a_process_and_its_children_wrote() -> None:
    before = soak.own_bytes(os.getpid(), ())
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"\n"
        grown = soak.own_bytes(os.getpid(), ()) - before
        assert 50_000_000 < grown < 80_000_000
        assert soak.own_bytes(child.pid, ()) == pytest.approx(grown, rel=0.1)
        assert abs(soak.own_bytes(os.getpid(), {child.pid}) - before) < 5_000_000
    finally:
        child.kill()
        child.wait()
    assert soak.own_bytes(child.pid, ()) == 0


@pytest.mark.parametrize(
    ("value", "better", "said"), [(1.0, "less", "held"), (2.0, "less", "BROKEN"), (2.0, "more", "held")]
)
def test_a_bound_holds_or_is_broken(value: float, better: str, said: str) -> None:
    assert table.verdict("it", value, 1.5, better).startswith(said)


def test_what_nobody_measured_is_neither_held_nor_broken() -> None:
    for better in ("less", "more"):
        line = table.verdict("it", None, 1.0, better)
        assert "not measured" in line and "held" not in line and "BROKEN" not in line
    ms = {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    found = {"asked": 9, "commands": [], "ms": ms, "gap_ms": 1.0, "wanted": 0, "failed": 0, "sticky": None}
    found["degraded"] = 0
    shadow = {"without_ms": ms, "with_ms": ms, "extra_p95_ms": 0.5}
    told = {"switch": found, "shadow": shadow, "rate": 1.0, "most": 2.0, "bad": {}}
    [line] = [line for line in table.switch(told).splitlines() if "people who stay" in line]
    assert "not measured" in line
    assert "held " in table.switch({**told, "switch": {**found, "sticky": 1.0}})
    assert "BROKEN people who stay" in table.switch({**told, "switch": {**found, "sticky": 0.0}})


def test_the_page_has_a_plot_of_latency_by_load() -> None:
    loads = {
        f"{share}": {"asked_rate": 100.0 * share, "ms": {"p50": 1.0 + share, "p99": 2.0 + share}}
        for share in (0.5, 0.8)
    }
    found = {"answer": {"bento": {"loads": loads}, "receipt": {}, "load": [1.0, 1.0]}}
    page = plot.page(found, {"answer": "a <table>"}, "some code")
    assert page.count("<svg") == 2 and "a &lt;table&gt;" in page and "p99 by load: bento" in page

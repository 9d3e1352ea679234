"""kill -9 at every step of landing, and again while the next run mends it: the bytes and counts of a run that was not killed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from counterfoil.importers import open_source
from counterfoil.landing import land, read_manifest
from tests.landing_shop import HEADER, bought, events_csv, hashes, parquet, settings_of, source_of

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    root = tmp_path_factory.mktemp("killed")
    for name in ("first", "second"):
        (root / name).mkdir()
    events_csv(
        root / "first/events.csv",
        [
            bought("a", "2024-03-01"),
            bought("b", "2024-03-02"),
            bought("c", "never"),
            bought("d", "2024-03-02", price=-1),
        ],
    )
    parquet(root / "first/items.parquet", id=["milk"], title=["Milk"])
    parquet(root / "first/people.parquet", id=["ann"], country=["DE"])
    events_csv(
        root / "second/events.csv",
        [
            bought("e", "2024-03-01"),
            bought("b", "2024-03-02"),
            bought("f", "2024-03-04", person="bob"),
            bought("h", "2024-03-01", person="bob"),
            bought("i", "never", person="bob"),
            bought("g", "2024-03-05", item=""),
        ],
    )
    parquet(root / "second/items.parquet", id=["milk", "tea"], title=["Whole milk", "Tea"])
    parquet(root / "second/people.parquet", id=["bob"], country=["FR"])
    fix = [(3, *bought("c", "2024-03-07")), (4, *bought("d", "2024-03-02", price=-1))]
    events_csv(root / "fixed.csv", fix, ("row", *HEADER))
    script = Path(__file__).with_name("landing_killed.py")
    done = subprocess.run(
        [sys.executable, script, root], capture_output=True, text=True, timeout=240, cwd=PROJECT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


COUNTS = {
    "into nothing": [[4, 2, 0, 2]],
    "into history": [[4, 2, 0, 2], [6, 3, 1, 2]],
    "somebody forgotten": [[4, 2, 0, 2], [6, 3, 1, 2], [0, 0, 0, 0]],
    "out of quarantine": [[4, 2, 0, 2], [2, 1, 0, 1]],
}
STEPS = {"into nothing": 19, "into history": 16, "out of quarantine": 11, "somebody forgotten": 8}


@pytest.mark.parametrize("scenario", COUNTS)
def test_a_killed_landing_ends_as_one_that_was_not(seen: dict[str, Any], scenario: str):
    trial = seen[scenario]
    assert trial["plain"]["counts"] == COUNTS[scenario]
    assert trial["steps"] >= STEPS[scenario]
    assert [k["n"] for k in trial["killed"]] == list(range(1, trial["steps"] + 1))
    for killed in trial["killed"]:
        assert killed["died"], f"the step {killed['n']} was not reached"
        assert {k: killed[k] for k in trial["plain"]} == trial["plain"], f"killed at step {killed['n']}"


def test_what_was_staged_but_not_committed_is_thrown_away(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "first", [bought("a", "2024-03-01")]), settings)
    before = hashes(settings)
    torn = settings.landing / "staging/contract-0123456789abcdef"
    torn.mkdir()
    (torn / "events~day=2024-03-01~events.parquet").write_bytes(b"half a file")
    (torn / "commit.json.new").write_bytes(b'{"batch"')
    assert land(open_source("contract", tmp_path / "first.csv"), settings).already
    assert hashes(settings) == before


def test_a_mended_batch_counts_as_landed_already(tmp_path: Path):
    settings = settings_of(tmp_path / "home")
    source = source_of(tmp_path, "first", [bought("a", "2024-03-01"), bought("a", "2024-03-01")])

    def fail(stage: str, rows: int) -> None:
        if stage == "committed":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        land(source, settings, fail)
    again = land(source, settings)
    assert (again.already, again.rows_in, again.landed, again.duplicates) == (True, 2, 1, 1)
    assert read_manifest(settings).rows == 1


def test_a_reader_finishes_what_was_committed(tmp_path: Path):
    settings, plain = settings_of(tmp_path / "home"), settings_of(tmp_path / "plain")
    source = source_of(tmp_path, "first", [bought("a", "2024-03-01"), bought("b", "2024-03-02")])
    land(source, plain)

    def fail(stage: str, rows: int) -> None:
        if stage == "move":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        land(source, settings, fail)
    assert read_manifest(settings).rows == 2
    assert hashes(settings) == hashes(plain)

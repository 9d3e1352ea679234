"""The catalog in PostgreSQL: a turn of the loop, writers at once, rails of the ledger; needs a server that tests may fill.

COUNTERFOIL_TEST_POSTGRES=postgresql+psycopg://user@127.0.0.1:5432/empty make test-slow
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import pytest
from sqlalchemy.exc import ProgrammingError

from counterfoil.catalog import Catalog
from counterfoil.errors import ConflictError
from counterfoil.settings import Settings
from flows.book import export_of, prove_in
from flows.place import place_of
from flows.verify import verify
from tests.loop_shop import END, land_shop, small_case, turn, write_shop
from tests.some_nouns import verdict
from tests.unit.test_releases import record, release

URL = os.environ.get("COUNTERFOIL_TEST_POSTGRES")
WRITERS, WRITES = 6, 25
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        URL is None, reason="needs COUNTERFOIL_TEST_POSTGRES, the address of an empty database"
    ),
]


def test_the_loop_and_its_proof_on_postgresql(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", catalog_url=URL)
    settings.home.mkdir()
    place = place_of(settings)
    land_shop(settings, write_shop(tmp_path / "source"))
    advanced, _ = turn(place, small_case(), END)
    assert advanced.release is not None
    assert all(outcome.skipped for outcome in turn(place, small_case(), END)[1])

    def write(writer: int) -> None:
        mine = place_of(settings)
        for number in range(WRITES):
            noun = verdict(f"day:19{writer:02d}-01-{number:02d}")
            mine.catalog.record("validate", f"{writer}-{number}", [noun], [], [], 0.0)

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    found = verify(place)
    assert found["faults"] == [] and found["checked"]["entries"] > WRITERS * WRITES
    assert prove_in(place, advanced.release.id)["proof"]
    assert export_of(place, tmp_path / "export")["entries"] == found["checked"]["entries"]
    with pytest.raises(ProgrammingError, match="never changed"), place.catalog.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM ledger WHERE entry = 3")


def test_fifty_promotions_at_once_leave_one_champion_and_at_most_one_challenger() -> None:
    """Fifty threads, each with a catalog of its own. Last in this file: its releases name no nouns."""
    first = Catalog(str(URL))
    cases = [f"race-{uuid4().hex[:8]}" for number in range(2)]
    for case in cases:
        record(first, release(1, "champion", use_case=case))
    barrier, stages = Barrier(50), ("champion", "shadow", "canary", "retired", "champion")

    def contend(number: int) -> tuple[str, int] | None:
        mine, case = Catalog(str(URL)), cases[number % 2]
        barrier.wait()
        made = release(
            mine.epoch(case) + 1, stages[number % 5], use_case=case, decision=f"decision-of-{number:03d}"
        )
        try:
            record(mine, made)
            return case, made.epoch
        except ConflictError:
            return None
        finally:
            mine.engine.dispose()

    with ThreadPoolExecutor(50) as pool:
        won = [one for one in pool.map(contend, range(50)) if one is not None]
    for case in cases:
        rows = first.releases(case)
        assert [row["epoch"] for row in rows] == list(range(len(rows), 0, -1))
        assert sorted(epoch for name, epoch in won if name == case) == list(range(2, len(rows) + 1))
        active = [row["stage"] for row in rows if row["valid_to"] is None]
        assert active.count("champion") == 1 and len(active) <= 2
    first.engine.dispose()

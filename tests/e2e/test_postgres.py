"""The catalog in PostgreSQL: a turn of the loop, writers at once, rails of the ledger; needs a server that tests may fill.

COUNTERFOIL_TEST_POSTGRES=postgresql+psycopg://user@127.0.0.1:5432/empty make test-slow
"""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import ProgrammingError

from counterfoil.settings import Settings
from flows.book import export_of, prove_in
from flows.place import place_of
from flows.verify import verify
from tests.loop_shop import END, land_shop, small_case, turn, write_shop
from tests.some_nouns import verdict

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

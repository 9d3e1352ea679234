"""A person's receipts are taken out while the gateway holds its segment open, as it does once it answered from its own list."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterfoil.errors import ConflictError
from counterfoil.processes import Processes
from counterfoil.receipts import Receipts
from flows.people import answers
from flows.people.who import Who
from flows.place import Place
from tests.ledger_home import opened

HER = "p" + "1" * 20
WHO = Who(pseudonym=HER, name=None, sessions=(), answered=())
WRITER = """
import sys, time
from dataclasses import replace
from pathlib import Path
from counterfoil.receipts import Receipts
from tests.unit.test_receipts import NOON, receipt
receipts = Receipts(Path(sys.argv[1]))
for person in (sys.argv[2], "p" + "2" * 20):
    receipts.write(replace(receipt(receipts.new_id(NOON), NOON), person=person, features={"last_good": {}}))
time.sleep(60)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = opened(tmp_path / "home")
    processes = Processes(made.settings.home)
    command = [sys.executable, "-c", WRITER, str(made.settings.receipts), HER]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    processes.start("gateway", command, url="http://127.0.0.1:1", env=env)
    until = time.monotonic() + 60
    while not any(True for _ in answers.rows(made, WHO)):
        assert time.monotonic() < until
        time.sleep(0.1)
    yield made
    for name in processes.running():
        processes.stop(name)
    made.catalog.engine.dispose()


def test_the_gateway_is_stopped_where_it_writes_to_them(place: Place) -> None:
    processes = Processes(place.settings.home)
    with pytest.raises(ConflictError, match="no supervisor runs"):
        answers.remove(place, WHO, "c" * 64)
    assert "gateway" in processes.running()
    processes.start(
        "supervisor", [sys.executable, "-c", "import time; time.sleep(60)"], url="http://127.0.0.1:1"
    )
    answers.remove(place, WHO, "c" * 64)
    assert [*processes.running()] == ["supervisor"]  # which would start it again
    assert list(answers.rows(place, WHO)) == []
    receipts = Receipts(place.settings.receipts)
    assert not receipts.open_segments() and len(receipts.sealed_segments()) == 1
    assert [one.person for one in receipts.all() if one.person == "p" + "2" * 20]

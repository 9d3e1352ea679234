"""Who writes to the view in a process of its own: real processes, a real store."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from bentos.collector import apart as module
from bentos.collector.apart import Apart
from bentos.collector.feed import told
from bentos.collector.view import Told
from counterfoil.errors import UnavailableError
from counterfoil.settings import Settings
from feature_repo import recent
from feature_repo.online import OnlineFeatures
from tests.unit.test_recent import now

HER, SECONDS = "p" + "a" * 20, 20.0


@pytest.fixture
def apart() -> Iterator[Apart]:
    made = Apart()
    yield made
    made.close()


def pid(apart: Apart) -> int:
    assert apart._child is not None
    return apart._child.pid


def seen(number: int, key: str = HER, kind: str = "view") -> Told:
    about = {"id": f"e{number}", "kind": kind, "item": f"i{number}", "person": key}
    blank = dict.fromkeys(("quantity", "session", "position", "receipt"))
    found = told(SimpleNamespace(**about, **blank), recent.micros(now()) - 1_000_000)
    assert found is not None
    return found


def items(home: Path) -> set[str]:
    return set(OnlineFeatures(Settings(home=home)).person(HER, now()).recent.item_ids)


def test_what_is_pushed_is_visible_and_what_is_forgotten_is_not(home: Path, apart: Apart) -> None:
    writer = apart.connect()
    writer.push([seen(number) for number in range(40)])
    writer.push([seen(40), seen(41, kind=recent.SHOWN), seen(1, "p" + "b" * 20)])
    assert items(home) == {f"i{number}" for number in range(42)}
    writer.sweep(recent.micros(now()) - 86_400_000_000)
    writer.forget([HER])
    assert items(home) == set()
    writer.push([seen(50)])
    assert items(home) == {"i50"}, "nothing of before was held on to"


def test_one_that_is_killed_says_so_and_another_one_goes_on(home: Path, apart: Apart) -> None:
    writer = apart.connect()
    writer.push([seen(number) for number in range(20)])
    first = pid(apart)
    os.kill(first, signal.SIGKILL)
    with pytest.raises(UnavailableError, match="started again"):
        writer.push([seen(20)])
    with pytest.raises(UnavailableError, match="begun again"):
        writer.push([seen(20)])
    apart.connect().push([seen(21)])
    assert pid(apart) != first and not psutil.pid_exists(first)
    assert items(home) == {*(f"i{number}" for number in range(20)), "i21"}


def test_a_store_that_is_away_is_named_and_the_process_stays(
    home: Path, apart: Apart, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = home / "features"
    blocked.write_text("no folder")
    with pytest.raises(UnavailableError, match="registry does not answer"):
        apart.connect()
    first = pid(apart)
    blocked.unlink()
    apart.connect().push([seen(3)])
    assert pid(apart) == first and items(home) == {"i3"}


def test_it_ends_with_who_asks_and_not_before(home: Path, apart: Apart) -> None:
    apart.connect()
    child = psutil.Process(pid(apart))
    for word in (signal.SIGTERM, signal.SIGINT):  # as they come to a whole group
        child.send_signal(word)
    apart.push([seen(1)])
    assert items(home) == {"i1"}
    own = apart._child
    apart.close()
    assert own is not None and own.returncode == 0, "it was killed"
    with pytest.raises(UnavailableError, match="ends"):
        apart.connect()


ASKER = """
import sys, time
from bentos.collector.apart import Apart
made = Apart()
made.connect()
print(made._child.pid, flush=True)
time.sleep(60)
"""


def test_it_is_gone_at_once_when_who_asks_is_killed(home: Path) -> None:
    asker = subprocess.Popen([sys.executable, "-c", ASKER], stdout=subprocess.PIPE)
    assert asker.stdout is not None
    child = psutil.Process(int(asker.stdout.readline()))
    child.suspend()  # it could not come to its end by itself
    asker.kill()
    asker.wait()
    assert gone(child)


def test_one_that_hangs_is_ended(home: Path, apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    apart.connect()
    child = psutil.Process(pid(apart))
    child.suspend()
    monkeypatch.setattr(module, "HANGS_SECONDS", 0.5)
    with pytest.raises(UnavailableError, match="started again"):
        apart.push([seen(1)])
    assert gone(child)


def test_closing_wakes_who_waits(home: Path, apart: Apart) -> None:
    apart.connect()
    psutil.Process(pid(apart)).suspend()
    with ThreadPoolExecutor(1) as asking:
        waits = asking.submit(apart.push, [seen(1)])
        time.sleep(0.2)
        closing = threading.Thread(target=apart.close)
        closing.start()  # it waits for the one that is suspended
        assert isinstance(waits.exception(module.END_SECONDS / 2), UnavailableError)
        closing.join()


def gone(process: psutil.Process) -> bool:
    until = time.monotonic() + SECONDS
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True

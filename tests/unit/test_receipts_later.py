"""Receipts whose flush may come after the answer: what a kill leaves, what a loss of power leaves, what a failing disk leaves."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from counterfoil import segment
from counterfoil.errors import IntegrityError
from counterfoil.receipts import Receipts
from counterfoil.receipts.store import encode
from counterfoil.types import Receipt
from tests.unit.test_receipts import NOON, receipt

NEVER_MS, SOON_MS = 1_000_000, 20


def written(receipts: Receipts, count: int) -> list[Receipt]:
    """Return so many receipts that were answered."""
    made = [receipt(receipts.new_id(NOON)) for _ in range(count)]
    for one in made:
        receipts.write(one)
    return made


def file_of(folder: Path) -> Path:
    [path] = folder.glob("*/*.jsonl")
    return path


def marks(folder: Path) -> int:
    return file_of(folder).read_bytes().count(b" #")


def until(said: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what comes by itself."""
    end = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.005)


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the descriptors that were flushed, as they are."""
    seen: list[int] = []
    flush = os.fdatasync
    monkeypatch.setattr(segment.os, "fdatasync", lambda number: (seen.append(number), flush(number))[1])
    return seen


def test_an_answer_does_not_wait_for_the_disk_and_one_flush_is_for_many(
    tmp_path: Path, flushes: list[int]
) -> None:
    receipts = Receipts(tmp_path, flush_ms=200)
    made = written(receipts, 50)
    assert len(flushes) == 0
    assert list(Receipts(tmp_path).all()) == made  # the kernel has them: others read them at once
    until(lambda: len(flushes) > 0)
    time.sleep(0.3)
    assert len(flushes) == 1  # nothing new, nothing to do
    receipts.close()
    assert len(flushes) == 1


def test_without_it_each_answer_waits(tmp_path: Path, flushes: list[int]) -> None:
    written(Receipts(tmp_path), 5)
    assert len(flushes) == 5


def test_marks_tell_of_what_the_disk_has_alone(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=SOON_MS)
    written(receipts, 10)
    until(lambda: receipts._open[file_of(tmp_path).stem]._flushed == 10)
    assert marks(tmp_path) == 0
    written(receipts, 10)
    assert marks(tmp_path) == 1  # in front of the first that came after the flush
    receipts.close()
    assert marks(tmp_path) == 2
    assert Receipts(tmp_path).count() == 20


def test_closing_flushes_what_waits(tmp_path: Path, flushes: list[int]) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 3)
    began = time.monotonic()
    receipts.close()
    assert time.monotonic() - began < 5 and len(flushes) == 1
    assert list(Receipts(tmp_path).all()) == made


def test_a_segment_that_is_full_is_flushed_before_it_is_left(tmp_path: Path, flushes: list[int]) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    for day in range(4):
        moment = NOON.replace(day=day + 1)
        receipts.write(receipt(receipts.new_id(moment), moment))
    assert len(flushes) == 2  # two stay open
    receipts.close()
    assert len(flushes) == 4


def test_power_that_goes_takes_what_was_not_flushed_and_nothing_is_said_to_be_altered(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    noise = Random(7)  # a packed line is longer than two sectors
    wide = [
        replace(receipt(receipts.new_id(NOON)), request={"text": noise.randbytes(1500).hex()})
        for _ in range(6)
    ]
    for one in wide[:3]:
        receipts.write(one)
    held = receipts._open[file_of(tmp_path).stem]
    held.flush()
    for one in wide[3:]:
        receipts.write(one)
    path, first = file_of(tmp_path), len(segment.line(encode(wide[0])))
    fourth = path.read_bytes().index(b" ^4 ")
    lost = fourth // 512 * 512 + 512
    with path.open("r+b") as file:  # of what had not been flushed, the disk has some sectors and not others
        file.seek(lost)
        file.write(bytes(512))
    after = Receipts(tmp_path)
    assert first > 1024 and list(after.all())[:3] == wide[:3]
    assert wide[3] not in list(after.all())
    for one in wide[:3]:
        assert after.find(one.id) == one


def test_what_had_been_flushed_and_is_gone_is_told(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    written(receipts, 30)
    receipts._open[file_of(tmp_path).stem].flush()
    written(receipts, 2)
    path = file_of(tmp_path)
    with path.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(512))
    with pytest.raises(IntegrityError, match="lost what was acknowledged: the disk had 30"):
        list(Receipts(tmp_path).all())


ANSWERS = """
import sys, time
from pathlib import Path
from counterfoil.receipts import Receipts
from tests.unit.test_receipts_later import written
[one] = written(Receipts(Path(sys.argv[1]), flush_ms=1_000_000), 1)
print(one.id, flush=True)
time.sleep(60)
"""


def test_a_kill_right_after_the_answer_loses_nothing(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ANSWERS, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        id = child.stdout.readline().strip()
        os.kill(child.pid, signal.SIGKILL)
    assert Receipts(tmp_path).find(id) == receipt(id)


def test_a_disk_that_fails_is_told_and_the_segment_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    flush = os.fdatasync
    fails = [OSError(5, "Input/output error")]  # the kernel tells of it once

    def failing(number: int) -> None:
        if fails:
            raise fails.pop()
        flush(number)

    monkeypatch.setattr(segment.os, "fdatasync", failing)
    receipts = Receipts(tmp_path, flush_ms=SOON_MS)
    with caplog.at_level(logging.ERROR):
        [before] = written(receipts, 1)
        until(lambda: bool(caplog.records))
    until(lambda: not receipts._open)
    assert caplog.messages == [
        f"receipts of {file_of(tmp_path).stem} were answered, and the disk may not have them: Input/output error"
    ]
    assert marks(tmp_path) == 0  # nobody says that it has
    [after] = written(receipts, 1)
    assert after.id.rpartition("-")[0] != before.id.rpartition("-")[0]
    receipts.close()
    assert Receipts(tmp_path).find(after.id) == after

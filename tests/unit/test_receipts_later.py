"""Receipts that are packed and flushed after the answer: what a kill, a loss of power, and a failing disk leave."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given

from counterfoil import segment
from counterfoil.errors import IntegrityError, UnavailableError, UnknownError
from counterfoil.receipts import Receipts, draft, sealed, store
from counterfoil.receipts.coded import dumps, encode
from counterfoil.receipts.recent import newest
from counterfoil.types import Receipt
from flows.draw import sample
from tests.unit.test_receipts import NOON, drawn, receipt

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
    receipts = Receipts(tmp_path, flush_ms=1000)
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


def drafts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.draft?"))


def drafted(folder: Path) -> Path:
    """Return the one file of a draft that has anything in it."""
    [path] = [half for half in drafts(folder) if half.read_bytes().strip(b"\0")]
    return path


def test_what_was_packed_is_out_of_the_draft_and_marked(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 10)
    assert receipts._pack(file_of(tmp_path).stem)
    assert marks(tmp_path) == 0 and draft.records(file_of(tmp_path)) == []
    assert not any(
        half.read_bytes().strip(b"\0") for half in drafts(tmp_path)
    )  # nothing is left of who was answered
    made += written(receipts, 10)
    assert receipts._pack(file_of(tmp_path).stem)
    assert marks(tmp_path) == 1  # in front of what came together after the first flush
    receipts.close()
    assert marks(tmp_path) == 2 and drafts(tmp_path) == []
    assert list(Receipts(tmp_path).all()) == made


def test_drafts_are_packed_by_themselves(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=SOON_MS)
    made = written(receipts, 10)
    until(lambda: draft.records(file_of(tmp_path)) == [])
    assert list(map(store.decode, segment.payloads(file_of(tmp_path)))) == made


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


def test_power_that_goes_takes_what_was_not_packed_and_nothing_is_said_to_be_altered(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    noise = Random(7)
    wide = [
        replace(receipt(receipts.new_id(NOON)), request={"text": noise.randbytes(1500).hex()})
        for _ in range(6)
    ]
    for one in wide[:3]:
        receipts.write(one)
    assert receipts._pack(file_of(tmp_path).stem)
    for one in wide[3:]:
        receipts.write(one)
    path = drafted(tmp_path)
    with path.open("r+b") as file:  # of what had not been flushed, the disk has some sectors and not others
        file.seek(path.read_bytes().index(wide[4].id.encode()) // 512 * 512 + 512)
        file.write(bytes(512))
    after = Receipts(tmp_path)
    assert list(after.all()) == wide[:4] and after.count() == 4
    for one in wide[:4]:
        assert after.find(one.id) == one
    for one in wide[4:]:
        with pytest.raises(UnknownError, match="no receipt"):
            after.find(one.id)


def test_a_kill_between_packing_and_clearing_leaves_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 5)
    monkeypatch.setattr(draft.Draft, "clear", lambda self: None)
    assert receipts._pack(file_of(tmp_path).stem)
    after = Receipts(tmp_path)
    assert len(draft.records(file_of(tmp_path))) == 5
    assert list(after.all()) == made and after.count() == 5 and newest(after, 10) == made[::-1]


def test_under_steady_load_each_turn_empties_what_it_packed(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=1)
    sizes = []
    for _ in range(40):
        made = written(receipts, 20)
        sizes.append(len(draft.records(file_of(tmp_path))))
    assert max(sizes) < 400 and receipts.find(made[0].id) == made[0]
    receipts.close()
    assert Receipts(tmp_path).count() == 800 and drafts(tmp_path) == []


def test_what_was_settled_is_only_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 2)
    receipts.settle()
    made += written(receipts, 3)
    receipts.settle()
    receipts.settle()
    made += written(receipts, 1)  # of whose answer nobody had a moment
    assert [dumps(one) for one in made] == draft.records(file_of(tmp_path)), (
        "it lies there until it is flushed"
    )
    made_now: list[int] = []
    line = segment.Packer.line

    def counted(self: segment.Packer, payload: bytes, number: int) -> bytes:
        made_now.append(number)
        return line(self, payload, number)

    monkeypatch.setattr(segment.Packer, "line", counted)
    assert receipts._pack(file_of(tmp_path).stem)
    assert made_now == [6] and not draft.records(file_of(tmp_path))
    assert list(Receipts(tmp_path).all()) == made
    receipts.settle()
    receipts.close()
    assert list(Receipts(tmp_path).all()) == made and drafts(tmp_path) == []


def test_what_is_settled_and_never_flushed_is_in_its_draft(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 3)
    receipts.settle()
    after = Receipts(tmp_path)  # as after a kill
    assert list(after.all()) == made and after.find(made[1].id) == made[1]


def test_a_disk_that_refuses_what_was_settled_leaves_it_in_its_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 3)
    receipts.settle()

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(segment.Ahead, "append", refuse)
        assert not receipts._pack(file_of(tmp_path).stem)
        receipts._abandon(file_of(tmp_path).stem)
    made += written(receipts, 1)
    receipts.close()
    assert {one.id for one in Receipts(tmp_path).all()} == {one.id for one in made}


def test_what_cannot_be_settled_is_let_go_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 3)

    def fails(*_: Any) -> bytes:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(segment.Packer, "line", fails)
        receipts.settle()
    assert not receipts._open and not receipts._drafts
    made += written(receipts, 1)
    receipts.close()
    assert {one.id for one in Receipts(tmp_path).all()} == {one.id for one in made}


def test_what_is_submitted_after_what_was_settled_is_packed_by_what_lies_first(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 1)
    receipts.settle()
    made.append(receipt(receipts.new_id(NOON)))
    receipts.submit(made[1]).result(10)
    receipts.close()
    assert list(Receipts(tmp_path).all()) == made


def test_what_is_submitted_waits_for_the_disk_no_more_than_what_is_written(
    tmp_path: Path, flushes: list[int]
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 1)
    with receipts._writing:  # as a disk that does not answer
        made += [receipt(receipts.new_id(NOON)) for _ in range(50)]
        for pending in [receipts.submit(one) for one in made[1:]]:
            pending.result(10)
        assert list(Receipts(tmp_path).all()) == made and len(flushes) == 0
    receipts.close()
    assert list(Receipts(tmp_path).all()) == made and len(flushes) == 1


@pytest.mark.parametrize("flush_ms", [0, NEVER_MS])
def test_what_cannot_be_told_is_refused_and_who_writes_goes_on(tmp_path: Path, flush_ms: int) -> None:
    receipts = Receipts(tmp_path, flush_ms=flush_ms)
    with pytest.raises(ValueError, match="not finite"):
        receipts.submit(replace(receipt(receipts.new_id(NOON)), propensity=float("nan")))
    unsaid, made = receipt(receipts.new_id(NOON)), [receipt(receipts.new_id(NOON)) for _ in range(3)]
    with receipts._writing:  # so that they come together
        held = [receipts.submit(one) for one in made[:1]]
        waiting = receipts.submit(replace(unsaid, request={"n": object()}))
        held += [receipts.submit(one) for one in made[1:]]
    with pytest.raises(TypeError):
        waiting.result(10)
    assert [one.result(10) for one in held] == [None] * 3, "it is nobody else's fault"
    receipts.close()
    assert list(Receipts(tmp_path).all()) == made


def test_whoever_settles_waits_for_no_flush(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    written(receipts, 2)
    settling = threading.Thread(target=receipts.settle, daemon=True)
    with receipts._writing:
        settling.start()
        settling.join(5)
        assert not settling.is_alive()
    assert receipts._drafted[file_of(tmp_path).stem], "the next moment will do"


def test_an_end_that_comes_as_a_turn_begins_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts = Receipts(tmp_path, flush_ms=1)
    closing = threading.Thread(target=receipts.close, daemon=True)
    clear = receipts._unpacked.clear

    def called_first() -> None:
        if closing.ident is None:
            closing.start()
            until(receipts._closed.is_set)
            time.sleep(0.05)  # for `close` to have made its other call as well
        clear()

    monkeypatch.setattr(receipts._unpacked, "clear", called_first)
    written(receipts, 3)
    until(lambda: closing.ident is not None)
    closing.join(10)
    assert not closing.is_alive() and Receipts(tmp_path).count() == 3 and drafts(tmp_path) == []


def test_what_is_packed_and_still_drafted_makes_no_hole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 10)
    monkeypatch.setattr(draft.Draft, "clear", lambda self: None)
    receipts._pack(file_of(tmp_path).stem)
    made += written(receipts, 5)
    after = Receipts(tmp_path)
    assert {one.id for one in newest(after, 8)} == {one.id for one in made[-8:]}
    assert [row.id for row in sample(after, 15, 0)] == [one.id for one in made]


def test_a_disk_that_may_only_be_read_is_an_answer_that_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 2)
    receipts._pack(file_of(tmp_path).stem)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(segment, "write_at", refuse)
        patched.setattr(Path, "unlink", refuse)
        with pytest.raises(UnavailableError, match="Read-only file system"):
            written(receipts, 1)
    assert not receipts._open and not receipts._drafts
    made += written(receipts, 1)  # another segment
    receipts.close()
    assert {one.id for one in Receipts(tmp_path).all()} == {one.id for one in made}


def test_whoever_packs_outlives_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipts = Receipts(tmp_path, flush_ms=300)
    line, fails = segment.Packer.line, [MemoryError()]

    def once(self: segment.Packer, payload: bytes, number: int) -> bytes:
        if fails:
            raise fails.pop()
        return line(self, payload, number)

    monkeypatch.setattr(segment.Packer, "line", once)
    made = written(receipts, 3)
    until(lambda: not receipts._open)
    made += written(receipts, 3)
    until(
        lambda: all(
            draft.records(path) == [] for path in tmp_path.glob("*/*.jsonl") if path.stem in receipts._open
        )
    )
    assert receipts._packing is not None and receipts._packing.is_alive()
    receipts.close()
    assert {one.id for one in Receipts(tmp_path).all()} == {one.id for one in made}


def test_what_is_left_of_an_earlier_line_is_no_record(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    receipts.write(replace(receipt(receipts.new_id(NOON)), request={"text": "x" * 3000}))
    path = drafted(tmp_path)
    stale = path.read_bytes()
    for _ in range(2):  # the other file, and then this one again
        receipts._pack(file_of(tmp_path).stem)
        [short] = written(receipts, 1)
    now = path.read_bytes()
    assert drafted(tmp_path) == path
    path.write_bytes(now.rstrip(b"\0") + stale[len(now.rstrip(b"\0")) :])  # the zeros never reached the disk
    assert draft.records(file_of(tmp_path)) == [encode(short)]


def test_the_newest_are_read_with_what_is_not_packed_yet(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 3)
    receipts._pack(file_of(tmp_path).stem)
    made += written(receipts, 2)
    after = Receipts(tmp_path)
    assert {one.id for one in newest(after, 4)} == {one.id for one in made[1:]}
    assert [after.find(one.id) for one in made] == made
    assert [row.id for row in sample(after, 5, 0)] == [one.id for one in made]
    assert sealed.read(file_of(tmp_path)).numbers == (1, 2, 3, 4, 5)


def test_a_draft_whose_segment_is_gone_is_swept(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    written(receipts, 1)
    draft.sweep(tmp_path)
    assert len(drafts(tmp_path)) == 2
    file_of(tmp_path).unlink()
    draft.sweep(tmp_path)
    assert drafts(tmp_path) == []


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


def test_a_disk_that_fails_is_told_the_segment_left_and_its_draft_kept(
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
    [path] = tmp_path.glob("*/*.jsonl")
    assert caplog.messages == [
        f"receipts of {path.stem} were answered, and are not packed: Input/output error; they stay in its draft"
    ]
    assert marks(tmp_path) == 0  # nobody says that it has
    [after] = written(receipts, 1)
    assert after.id.rpartition("-")[0] != before.id.rpartition("-")[0]
    receipts.close()
    again = Receipts(tmp_path)
    assert again.find(after.id) == after and again.find(before.id) == before and again.count() == 2


def test_no_room_for_a_draft_is_an_answer_that_is_not_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    made = written(receipts, 2)
    write, full = draft.Draft.append, True

    def refuse(self: draft.Draft, one: Receipt) -> None:
        if full:
            raise OSError(28, "No space left on device")
        write(self, one)

    monkeypatch.setattr(draft.Draft, "append", refuse)
    for _ in range(2):  # the second begins a segment of which nothing is left
        with pytest.raises(UnavailableError, match="No space left on device; free or mend the disk"):
            written(receipts, 1)
    assert len(list(tmp_path.glob("*/*"))) == 1  # the first: what was answered before had room in it
    full = False
    made += written(receipts, 1)
    receipts.close()
    assert {one.id for one in Receipts(tmp_path).all()} == {one.id for one in made}


def test_what_no_json_tells_is_no_answer_and_what_is_found_too_late_stays_in_the_draft(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receipts = Receipts(tmp_path, flush_ms=NEVER_MS)
    one = receipt(receipts.new_id(NOON))
    with pytest.raises(ValueError, match="not finite"):
        receipts.write(replace(one, propensity=float("nan")))
    with pytest.raises(TypeError):
        receipts.write(replace(one, features={"odd": object()}))
    receipts.write(replace(one, features={"odd": b"bytes"}))
    with caplog.at_level(logging.ERROR):
        receipts.close()
    assert "they stay in" in caplog.text and len(drafts(tmp_path)) == 2
    with pytest.raises(IntegrityError, match="holds what is no receipt"):
        Receipts(tmp_path).count()


@given(drawn())
def test_what_is_drafted_is_read_as_it_will_be_packed(one: Receipt) -> None:
    assert dumps(draft._unpack(draft._pack(one))) == encode(one)


def test_several_threads_draft_and_each_is_kept_once(tmp_path: Path) -> None:
    receipts = Receipts(tmp_path, flush_ms=1)
    with ThreadPoolExecutor(4) as pool:
        made = [one for batch in pool.map(lambda _: written(receipts, 300), range(4)) for one in batch]
    receipts.close()
    assert sorted(one.id for one in Receipts(tmp_path).all()) == sorted(one.id for one in made)
    assert drafts(tmp_path) == []

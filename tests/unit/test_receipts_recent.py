"""The newest receipts: from the ends of segments, open and sealed, whatever else lies there."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from counterfoil.errors import IntegrityError
from counterfoil.receipts import Receipts, sealed
from counterfoil.receipts.recent import newest
from counterfoil.types import Receipt

START = datetime(2024, 5, 1, 23, 59, tzinfo=UTC)


def write(folder: Path, moments: list[datetime]) -> list[str]:
    receipts, ids = Receipts(folder), []
    for time in moments:
        id = receipts.new_id(time)
        receipts.write(
            Receipt(
                id=id, time=time, use_case="small", release="release-1", bento="b:1", epoch=1, person="p", request={},
                items=(), rules=(), features={}, feature_time=None, degraded=(),
            )
        )  # fmt: skip
        ids.append(id)
    receipts.close()
    return ids


def seal(path: Path) -> None:
    sealed.write(sealed.read(path), path.with_suffix(sealed.SUFFIX))
    path.unlink()


def test_the_newest_come_first_over_days_and_segments(tmp_path: Path) -> None:
    ids = write(tmp_path, [START + timedelta(seconds=20 * n) for n in range(9)])  # over midnight
    assert [one.id for one in newest(Receipts(tmp_path), 5)] == ids[:3:-1]
    assert [one.id for one in newest(Receipts(tmp_path), 100)] == ids[::-1]
    assert newest(Receipts(tmp_path), 1)[0].time == START + timedelta(seconds=160)
    assert newest(Receipts(tmp_path / "none"), 5) == []


def test_sealed_and_open_ends_are_read_alike(tmp_path: Path) -> None:
    ids = write(tmp_path, [START + timedelta(seconds=n) for n in range(6)])
    [path] = Receipts(tmp_path).open_segments()
    seal(path)
    later = write(tmp_path, [START + timedelta(seconds=30)])
    assert [one.id for one in newest(Receipts(tmp_path), 3)] == [*later, ids[5], ids[4]]


def test_erased_receipts_are_passed_over(tmp_path: Path) -> None:
    ids = write(tmp_path, [START + timedelta(seconds=n) for n in range(4)])
    [path] = Receipts(tmp_path).open_segments()
    seal(path)
    sealed.redact(path.with_suffix(sealed.SUFFIX), [4, 2], "a commitment")
    assert [one.id for one in newest(Receipts(tmp_path), 5)] == [ids[2], ids[0]]


def test_only_the_end_of_a_long_segment_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = write(tmp_path, [START + timedelta(milliseconds=n) for n in range(40)])
    monkeypatch.setattr("counterfoil.receipts.recent.TAIL_BYTES", 1000)
    found = [one.id for one in newest(Receipts(tmp_path), 40)]
    assert 1 <= len(found) < 40 and found == ids[::-1][: len(found)]


def test_a_torn_end_is_passed_over_and_an_altered_line_is_named(tmp_path: Path) -> None:
    ids = write(tmp_path, [START + timedelta(seconds=n) for n in range(3)])
    [path] = Receipts(tmp_path).open_segments()
    with path.open("ab") as file:
        file.write(b"00000000 {half")
    assert [one.id for one in newest(Receipts(tmp_path), 5)] == ids[::-1]
    path.write_bytes(path.read_bytes().replace(b'"epoch":1', b'"epoch":2', 1))
    with pytest.raises(IntegrityError, match="wrong checksum"):
        newest(Receipts(tmp_path), 5)

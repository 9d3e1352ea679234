"""Sealed receipts: found as before, smaller, whole after any kill, and nothing of them altered unseen."""

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import IntegrityError, UnknownError
from counterfoil.ledger import tree, verifier
from counterfoil.receipts import Receipts, sealed, segment
from flows import agree, sealing, witness
from flows.place import Place
from tests.ledger_home import faults, opened
from tests.unit.test_receipts import NOON, receipt

MANY = 600  # more than two groups of rows


@pytest.fixture
def place(home: Path) -> Iterator[Place]:
    made = opened(home)
    yield made
    made.catalog.engine.dispose()


def answered(place: Place, count: int = MANY) -> list[str]:
    """Write receipts as one service does, which ends; return their ids."""
    receipts = Receipts(place.settings.receipts)
    written = [receipt(receipts.new_id(NOON), NOON + timedelta(seconds=n)) for n in range(count)]
    for pending in [receipts.submit(one) for one in written]:
        pending.result()
    receipts.close()
    return [one.id for one in written]


def named(place: Place) -> list[str]:
    return [fault for found in agree.seals(place) for fault in found] + faults(place)


def test_what_was_sealed_is_found_word_for_word_and_takes_less(place: Place) -> None:
    ids = answered(place)
    [path] = place.settings.receipts.glob("*/*.jsonl")
    before, size = {id: Receipts(place.settings.receipts).find(id) for id in ids}, path.stat().st_size
    assert sealing.seal(place) == {"segments": 1, "receipts": MANY}
    receipts = Receipts(place.settings.receipts)
    [made] = place.settings.receipts.glob("*/*")
    assert made.suffix == ".parquet" and made.stat().st_size < size / 5
    assert {id: receipts.find(id) for id in ids} == before
    assert (receipts.count(), [one.id for one in receipts.all()]) == (MANY, ids)
    with pytest.raises(UnknownError):
        receipts.find(ids[0].rpartition("-")[0] + f"-{MANY + 1}")
    assert sealing.seal(place) == {"segments": 0, "receipts": 0}
    assert named(place) == []


def test_a_receipt_is_proven_by_the_root_in_the_ledger(place: Place) -> None:
    ids = answered(place)
    sealing.seal(place)
    [path] = place.settings.receipts.glob("*/*.parquet")
    root = bytes.fromhex(place.catalog.seals()[path.stem]["root"])
    for number in (1, 300, MANY):
        at, leaves, steps = sealed.proof(path, number)
        payload = sealed.find(path, number)
        assert payload is not None and ids[number - 1].encode() in payload
        assert verifier.included(verifier.leaf_hash(payload), at, leaves, steps, root)
        assert not verifier.included(verifier.leaf_hash(payload + b" "), at, leaves, steps, root)


def hold(folder: Path, ready: "multiprocessing.connection.Connection") -> None:
    receipts = Receipts(folder)
    receipts.write(receipt(receipts.new_id(NOON)))
    ready.send(True)
    ready.recv()


def test_a_segment_that_a_process_writes_to_is_left_alone_and_taken_when_it_was_killed(place: Place) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=hold, args=(place.settings.receipts, theirs)
    )
    process.start()
    assert ours.recv()
    assert sealing.seal(place)["segments"] == 0
    process.kill()
    process.join()
    [path] = place.settings.receipts.glob("*/*.jsonl")
    with path.open("ab") as file:
        file.write(b"0123abcd {")  # torn: this answer never left
    assert sealing.seal(place) == {"segments": 1, "receipts": 1}
    assert named(place) == []


@pytest.mark.parametrize("after", ["the file", "the entry"])
def test_a_sealing_that_was_cut_off_goes_on(place: Place, after: str) -> None:
    ids = answered(place, 5)
    [path] = place.settings.receipts.glob("*/*.jsonl")
    made = sealed.write(path)
    if after == "the entry":
        place.catalog.seal(made.segment, made.receipts, made.root, made.sha256)
    receipts = Receipts(place.settings.receipts)
    assert (receipts.count(), receipts.find(ids[0]).id, named(place)) == (5, ids[0], [])
    assert sealing.seal(place) == {"segments": 1, "receipts": 5}
    assert (receipts.count(), receipts.find(ids[0]).id, named(place)) == (5, ids[0], [])
    assert len(place.catalog.seals()) == 1


def rewritten(path: Path, change) -> None:
    table = pq.read_table(path)
    with path.open("wb") as file:
        pq.write_table(change(table), file)


def louder(table: pa.Table) -> pa.Table:
    payload = [one.replace(b'"score":0.5', b'"score":0.9') for one in table["payload"].to_pylist()]
    return table.set_column(
        table.schema.get_field_index("payload"), "payload", pa.array(payload, pa.binary())
    )


@pytest.mark.parametrize(
    ("alter", "said"),
    [
        (lambda path: rewritten(path, louder), "is not what was sealed"),
        (lambda path: rewritten(path, lambda table: table.slice(1)), "is not what was sealed"),
        (lambda path: path.unlink(), "of 5 receipts is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:200]), "cannot be read"),
        (lambda path: path.rename(path.with_name("20260412T120003-00000000.parquet")), "was never sealed"),
    ],
)
def test_a_sealed_receipt_that_was_altered_is_named(place: Place, alter, said: str) -> None:
    answered(place, 5)
    sealing.seal(place)
    [path] = place.settings.receipts.glob("*/*.parquet")
    alter(path)
    assert [fault for fault in named(place) if said in fault]


def test_the_record_of_a_seal_is_held_by_the_ledger(place: Place) -> None:
    answered(place, 5)
    sealing.seal(place)
    [path] = place.settings.receipts.glob("*/*.parquet")
    rewritten(path, louder)
    now = sealed.of(path)
    with place.catalog.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE segment SET root = ?, sha256 = ?", (now.root, now.sha256))
    assert [fault for found in witness.entries(place) for fault in found if "sealed segment" in fault]
    with pytest.raises(IntegrityError, match="was sealed with 5 receipts of other contents"):
        place.catalog.seal(path.stem, 5, tree.root([verifier.leaf_hash(b"x")]).hex(), now.sha256)


def test_an_altered_line_is_not_sealed(place: Place) -> None:
    answered(place, 5)
    [path] = place.settings.receipts.glob("*/*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"score":0.5', b'"score":0.9', 1))
    with pytest.raises(IntegrityError, match="wrong checksum"):
        sealing.seal(place)
    assert path.is_file() and segment.count(path) == 5

"""Sealed receipts: found as before, smaller, whole after any kill, and nothing of them altered unseen."""

import base64
import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil import canonical, segment
from counterfoil.errors import InputError, IntegrityError, UnavailableError, UnknownError
from counterfoil.ledger import tree, verifier
from counterfoil.receipts import Erased, Receipts, sealed
from flows import agree, book, sealing, witness
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
    assert sealing.seal(place, quiet_seconds=0) == {"segments": 1, "receipts": MANY}
    receipts = Receipts(place.settings.receipts)
    [made] = place.settings.receipts.glob("*/*")
    assert made.suffix == ".parquet" and made.stat().st_size < size / 5
    assert {id: receipts.find(id) for id in ids} == before
    assert (receipts.count(), [one.id for one in receipts.all()]) == (MANY, ids)
    with pytest.raises(UnknownError):
        receipts.find(ids[0].rpartition("-")[0] + f"-{MANY + 1}")
    assert sealing.seal(place, quiet_seconds=0) == {"segments": 0, "receipts": 0}
    assert named(place) == []


def test_a_receipt_is_proven_by_the_root_in_the_ledger(place: Place) -> None:
    ids = answered(place)
    sealing.seal(place, quiet_seconds=0)
    [path] = place.settings.receipts.glob("*/*.parquet")
    root = bytes.fromhex(place.catalog.seals()[path.stem]["root"])
    for number in (1, 300, MANY):
        held = sealed.proof(path, number)
        at, leaves, steps = held.place, held.receipts, held.steps
        assert held.root == root
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
    assert sealing.seal(place, quiet_seconds=0)["segments"] == 0
    process.kill()
    process.join()
    [path] = place.settings.receipts.glob("*/*.jsonl")
    with path.open("ab") as file:
        file.write(b"0123abcd {")  # torn: this answer never left
    assert sealing.seal(place, quiet_seconds=0) == {"segments": 1, "receipts": 1}
    assert named(place) == []


@pytest.mark.parametrize("after", ["the file", "the entry"])
def test_a_sealing_that_was_cut_off_goes_on(place: Place, after: str) -> None:
    ids = answered(place, 5)
    [path] = place.settings.receipts.glob("*/*.jsonl")
    made = sealed.write(sealed.read(path), path.with_suffix(sealed.SUFFIX))
    if after == "the entry":
        place.catalog.seal(made.segment, made.receipts, made.root, made.sha256)
    receipts = Receipts(place.settings.receipts)
    assert (receipts.count(), receipts.find(ids[0]).id, named(place)) == (5, ids[0], [])
    assert sealing.seal(place, quiet_seconds=0) == {"segments": 1, "receipts": 5}
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
    sealing.seal(place, quiet_seconds=0)
    [path] = place.settings.receipts.glob("*/*.parquet")
    alter(path)
    assert [fault for fault in named(place) if said in fault]


def test_the_record_of_a_seal_is_held_by_the_ledger(place: Place) -> None:
    answered(place, 5)
    sealing.seal(place, quiet_seconds=0)
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
        sealing.seal(place, quiet_seconds=0)
    assert path.is_file() and segment.count(path) == 5


def test_a_sector_that_the_disk_lost_is_told_by_verify_and_is_not_sealed_over(place: Place) -> None:
    receipts = Receipts(place.settings.receipts)
    for _ in range(5):
        receipts.write(receipt(receipts.new_id(NOON)))
    receipts.close()
    [path] = place.settings.receipts.glob("*/*.jsonl")
    whole = path.read_bytes()
    path.write_bytes(whole[:1024] + bytes(512) + whole[1536:])
    [said] = [fault for found in agree.receipts(place) for fault in found if "has lost what" in fault]
    assert "the disk had 5 records before line" in said and path.name in said
    with pytest.raises(IntegrityError, match="has lost what was acknowledged"):
        sealing.seal(place, quiet_seconds=0)
    assert list(place.settings.receipts.glob("*/*")) == [path]


def test_what_was_written_to_a_moment_ago_is_left_alone(place: Place) -> None:
    answered(place, 5)
    assert sealing.seal(place) == {"segments": 0, "receipts": 0}


def test_a_sealed_segment_is_never_written_anew(place: Place) -> None:
    """An open file that comes back beside a sealed one, as from a backup or a late answer."""
    receipts = Receipts(place.settings.receipts)
    late = [receipt(receipts.new_id(NOON)) for _ in range(3)]
    receipts.write(late[0])
    receipts.close()
    [path] = place.settings.receipts.glob("*/*.jsonl")
    before = path.read_bytes()
    sealing.seal(place, quiet_seconds=0)
    with pytest.raises(UnavailableError):
        Receipts(place.settings.receipts).write(late[1])
    path.write_bytes(before)
    assert named(place) == []
    path.write_bytes(segment.line(canonical.encode(late[2])))
    assert [fault for fault in named(place) if "holds other receipts" in fault]
    with pytest.raises(IntegrityError, match="was sealed with 1 receipts of other contents"):
        sealing.seal(place, quiet_seconds=0)
    assert Receipts(place.settings.receipts).find(late[0].id) == late[0]
    path.write_bytes(before)
    assert sealing.seal(place, quiet_seconds=0)["segments"] == 1
    assert named(place) == [] and not path.exists()


def test_a_forged_open_file_beside_a_sealed_one_is_not_shown(place: Place) -> None:
    [first, *_] = answered(place, 5)
    [path] = place.settings.receipts.glob("*/*.jsonl")
    lines = [line.partition(b" ")[2] for line in path.read_bytes().splitlines()]
    sealing.seal(place, quiet_seconds=0)
    path.write_bytes(b"".join(segment.line(line.replace(b'"score":0.5', b'"score":0.9')) for line in lines))
    assert Receipts(place.settings.receipts).find(first).items[0].score == 0.5
    assert [fault for fault in named(place) if "holds other receipts" in fault]


def test_a_copy_in_another_folder_hides_nothing(place: Place) -> None:
    answered(place, 5)
    sealing.seal(place, quiet_seconds=0)
    [path] = place.settings.receipts.glob("*/*.parquet")
    for folder in ("0", "zz"):
        (place.settings.receipts / folder).mkdir()
        (place.settings.receipts / folder / path.name).write_bytes(path.read_bytes())
    rewritten(path, louder)
    found = named(place)
    assert [fault for fault in found if "is not what was sealed" in fault]
    assert len([fault for fault in found if "where no segment of that name belongs" in fault]) == 2


def test_one_bad_segment_does_not_keep_the_others_open(place: Place) -> None:
    for _ in range(3):
        answered(place, 2)
    paths = sorted(place.settings.receipts.glob("*/*.jsonl"))
    paths[0].write_bytes(paths[0].read_bytes().replace(b'"score":0.5', b'"score":0.9', 1))
    with pytest.raises(IntegrityError, match="2 segments were sealed, and 1 could not be"):
        sealing.seal(place, quiet_seconds=0)
    assert list(place.settings.receipts.glob("*/*.jsonl")) == paths[:1]


def test_a_service_that_ended_before_its_first_answer_leaves_nothing(place: Place) -> None:
    [id] = answered(place, 1)
    [path] = place.settings.receipts.glob("*/*.jsonl")
    path.write_bytes(b"")
    assert sealing.seal(place, quiet_seconds=0) == {"segments": 1, "receipts": 0}
    assert not list(place.settings.receipts.glob("*/*")) and named(place) == []
    with pytest.raises(UnknownError):
        Receipts(place.settings.receipts).find(id)


def test_a_receipt_is_proven_up_to_a_signed_head(place: Place) -> None:
    ids = answered(place, 5)
    with pytest.raises(InputError, match="is not sealed yet"):
        book.prove(ids[1])
    sealing.seal(place, quiet_seconds=0)
    told = book.prove(ids[1])
    leaf = verifier.leaf_hash(told["receipt"].encode())
    steps = [base64.b64decode(step) for step in told["segment_proof"]]
    root = bytes.fromhex(told["segment_root"])
    assert ids[1] in told["receipt"]
    assert verifier.included(leaf, told["place"], told["receipts"], steps, root)
    assert told["segment_root"] in told["line"]  # the entry of the seal
    head = verifier.read_note(told["checkpoint"])
    above = [base64.b64decode(step) for step in told["proof"]]
    assert verifier.included(
        verifier.leaf_hash(told["line"].encode()), told["entry"], head.size, above, head.root
    )
    for missing in ("receipt-20260412T120003-00000000-1", ids[0].rpartition("-")[0] + "-9"):
        with pytest.raises(UnknownError):
            book.prove(missing)


def test_an_erased_receipt_leaves_its_hash_and_every_other_one_stays(place: Place) -> None:
    ids = answered(place, 5)
    sealing.seal(place, quiet_seconds=0)
    receipts = Receipts(place.settings.receipts)
    [path] = receipts.sealed_segments()
    before, others = sealed.of(path), [receipts.find(id) for id in ids if id != ids[2]]
    whole = sealed.proof(path, 3)
    made = sealed.redact(path, {3}, "c" * 64)
    assert (made.root, made.receipts) == (before.root, 5) and made.sha256 != before.sha256
    with pytest.raises(Erased) as gone:
        receipts.find(ids[2])
    assert gone.value.person == "c" * 64
    assert [receipts.find(id) for id in ids if id != ids[2]] == others == list(receipts.all())
    left = sealed.proof(path, 3)
    assert (left.payload, left.leaf, left.steps) == (
        None,
        verifier.leaf_hash(whole.payload or b""),
        whole.steps,
    )
    table = pq.read_table(path).to_pylist()
    assert {name for name, value in table[2].items() if value is not None} == {
        "number",
        "use_case",
        "release",
        "leaf",
        "erased",
    }
    assert sealed.redact(path, {3}, "d" * 64) == made, "who was erased stays erased, under the same name"
    assert named(place) == [
        f"{path.name} is not what was sealed: a receipt in it was altered, taken out or put in"
    ]


def test_a_segment_that_was_sealed_before_there_were_erasures_can_be_read_and_erased(place: Place) -> None:
    ids = answered(place, 3)
    sealing.seal(place, quiet_seconds=0)
    [path] = Receipts(place.settings.receipts).sealed_segments()
    root = sealed.of(path).root
    pq.write_table(pq.read_table(path).drop_columns(["leaf", "erased"]), path)
    assert sealed.of(path).root == root and sealed.erased(path, 1) is None
    assert Receipts(place.settings.receipts).find(ids[0]).id == ids[0]
    assert sealed.redact(path, {1}, "c" * 64).root == root
    assert sealed.erased(path, 1) == "c" * 64 and sealed.find(path, 1) is None


def test_a_receipt_that_is_neither_there_nor_erased_is_a_fault(place: Place) -> None:
    answered(place, 2)
    sealing.seal(place, quiet_seconds=0)
    [path] = Receipts(place.settings.receipts).sealed_segments()
    rows = pq.read_table(path).to_pylist()
    rows[0]["payload"] = None
    pq.write_table(pa.Table.from_pylist(rows, sealed.schema()), path)
    with pytest.raises(IntegrityError, match="neither there nor erased"):
        sealed.of(path)

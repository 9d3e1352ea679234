"""Sealed segments: a Parquet file whose receipts are the leaves of a Merkle tree, and whose root is an entry of the ledger.

A segment is sealed once its process is done with it. The payload of a receipt stays byte for byte what was written when it was
answered; a few columns lie beside it for questions over many (earlier versions sealed without feature_time and items). Rows are
sorted by number, in groups so small that finding one reads little.

A receipt that was erased leaves its number, its release and the hash of its payload, so that the root and the proof of every
other receipt stay what they were.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from counterfoil import canonical, segment
from counterfoil.errors import IntegrityError
from counterfoil.files import write_durably
from counterfoil.ledger import tree
from counterfoil.ledger.verifier import leaf_hash
from counterfoil.receipts import draft

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

SUFFIX = segment.SEALED
GROUP_ROWS = 256
HASH = 32
STAYS = ("number", "use_case", "release")  # of an erased receipt


@dataclass(frozen=True, kw_only=True, slots=True)
class Seal:
    """What the ledger says of a sealed segment: how many receipts, the root over their payloads, the file's digest."""

    segment: str
    receipts: int
    root: str
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """The receipts of an open segment, by number, and the root over them."""

    numbers: tuple[int, ...]
    payloads: tuple[bytes, ...]
    root: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """One receipt, its place among those of its segment, the root over them, and the hashes beside the way up.

    `payload` is None where the receipt was erased; `leaf` is its hash all the same.
    """

    payload: bytes | None
    leaf: bytes
    place: int
    receipts: int
    root: bytes
    steps: tuple[bytes, ...]


def schema() -> "pa.Schema":
    """Return the columns of a sealed segment."""
    import pyarrow as pa  # not above: most commands touch no sealed segment, and it brings NumPy

    return pa.schema(
        [
            ("number", pa.int32()),
            ("time", pa.timestamp("us", tz="UTC")),
            ("person", pa.string()),
            ("use_case", pa.string()),
            ("release", pa.string()),
            ("feature_time", pa.timestamp("us", tz="UTC")),
            ("items", pa.list_(pa.string())),
            ("payload", pa.binary()),
            ("leaf", pa.binary()),  # of an erased receipt: the hash of its payload
            ("erased", pa.string()),  # and the commitment by which its erasure names the person
        ]
    )


def read(open_segment: Path) -> Rows:
    """Return what an open segment holds; IntegrityError when a line of it was altered."""
    rows = sorted((_number(payload), payload) for payload in draft.payloads(open_segment))
    leaves = [leaf_hash(payload) for _, payload in rows]
    return Rows(
        numbers=tuple(number for number, _ in rows),
        payloads=tuple(payload for _, payload in rows),
        root=tree.root(leaves).hex(),
    )


def write(rows: Rows, path: Path) -> Seal:
    """Write the Parquet file of a segment, durably, in place of one that was not finished; return its seal."""
    import pyarrow as pa

    plain = [orjson.loads(payload) for payload in rows.payloads]
    table = pa.table(
        {
            "number": rows.numbers,
            "time": [canonical.utc_time(one["time"]) for one in plain],
            **{name: [one[name] for one in plain] for name in ("person", "use_case", "release")},
            "feature_time": [
                None if one["feature_time"] is None else canonical.utc_time(one["feature_time"])
                for one in plain
            ],
            "items": [[item["item"] for item in one["items"]] for one in plain],
            "payload": rows.payloads,
            "leaf": [None] * len(plain),
            "erased": [None] * len(plain),
        },
        schema=schema(),
    )
    return _written(table, path)


def _written(table: "pa.Table", path: Path) -> Seal:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=9,
        row_group_size=GROUP_ROWS,
        use_dictionary=["use_case", "release", "feature_time", "items.list.element"],
    )
    write_durably(path, sink.getvalue())
    return of(path)


def of(path: Path) -> Seal:
    """Return the seal of a Parquet file as it is now; IntegrityError when it cannot be read."""
    leaves = [leaf for _, leaf in _rows(path)]
    return Seal(
        segment=path.stem,
        receipts=len(leaves),
        root=tree.root(leaves).hex(),
        sha256=canonical.file_digest(path),
    )


def payloads(path: Path) -> Iterator[bytes]:
    """Yield the payload of every receipt that is there, by number; IntegrityError when the file cannot be read."""
    for payload, _ in _rows(path):
        if payload is not None:
            yield payload


def _rows(path: Path) -> Iterator[tuple[bytes | None, bytes]]:
    """Yield payload (None: erased) and leaf hash of every receipt, by number."""
    with _opened(path) as file:
        kept = "leaf" in file.schema_arrow.names  # files of an earlier version have none
        for batch in file.iter_batches(GROUP_ROWS, columns=["payload", *(["leaf"] if kept else [])]):
            held = batch.column("payload").to_pylist()
            leaves = batch.column("leaf").to_pylist() if kept else [None] * len(held)
            for payload, leaf in zip(held, leaves, strict=True):
                if (payload is None) != (leaf is not None and len(leaf) == HASH):
                    raise IntegrityError(
                        f"{path.name} holds a receipt that is neither there nor erased: restore it"
                    )
                yield payload, leaf_hash(payload) if payload is not None else leaf


def redact(path: Path, numbers: Collection[int], erased: str) -> Seal:
    """Take the payloads of these receipts out, durably, and return the file's seal: its root stays what it was.

    What lies beside a payload goes as well, but for its number, use case and release. `erased` names the erasure.
    """
    import pyarrow as pa

    with _opened(path) as file:
        table = file.read()
    held = table.to_pylist()
    for row in held:
        if row["number"] in numbers and row["payload"] is not None:
            leaf = leaf_hash(row["payload"])
            row.update({name: None for name in row if name not in STAYS}, leaf=leaf, erased=erased)
    columns = pa.unify_schemas([schema(), table.schema.remove_metadata()])
    return _written(pa.Table.from_pylist(held, schema=columns), path)


def erased(path: Path, number: int) -> str | None:
    """Return by which commitment the receipt of that number was erased; None when it was not."""
    if not path.is_file():
        return None
    with _opened(path) as file:
        if "erased" not in file.schema_arrow.names:
            return None
        found = file.read(columns=["number", "erased"])
    said: dict[int, str | None] = dict(
        zip(found["number"].to_pylist(), found["erased"].to_pylist(), strict=True)
    )
    return said.get(number)


def count(path: Path) -> int:
    """Return how many receipts a file holds."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def left(path: Path) -> int:
    """Return how many receipts of a file were not erased."""
    with _opened(path) as file:
        if "erased" not in file.schema_arrow.names:
            return int(file.metadata.num_rows)
        return int(file.read(columns=["erased"])["erased"].null_count)


def find(path: Path, number: int) -> bytes | None:
    """Return the payload of the receipt of that number, None when it is not there or erased; only its group of rows is read."""
    if not path.is_file():
        return None
    with _opened(path) as file:
        for group in range(file.num_row_groups):
            said = file.metadata.row_group(group).column(0).statistics
            if said is None or said.min <= number <= said.max:
                table = file.read_row_group(group, columns=["number", "payload"])
                numbers = table["number"].to_pylist()
                if number in numbers:
                    payload: bytes | None = table["payload"][numbers.index(number)].as_py()
                    return payload
    return None


@contextmanager
def _opened(path: Path) -> "Iterator[pq.ParquetFile]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, ValueError) as fault:
        raise IntegrityError(f"{path.name} cannot be read ({fault}): it was altered; restore it") from fault


def proof(path: Path, number: int) -> Proof:
    """Return what proves one receipt of a segment; IndexError when it is not there."""
    with _opened(path) as file:
        numbers = file.read(columns=["number"])["number"].to_pylist()
    if number not in numbers:
        raise IndexError(f"there is no receipt {number} in this segment")
    rows = list(_rows(path))
    place, leaves = numbers.index(number), [leaf for _, leaf in rows]
    return Proof(
        payload=rows[place][0],
        leaf=leaves[place],
        place=place,
        receipts=len(rows),
        root=tree.root(leaves),
        steps=tuple(tree.inclusion(leaves, place)),
    )


def _number(payload: bytes) -> int:
    return int(orjson.loads(payload)["id"].rpartition("-")[2])

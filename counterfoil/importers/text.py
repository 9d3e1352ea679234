"""Delimited text and text of one record a line: how it is read, and the proof that no line was lost.

A wrong quote or escape makes readers skip lines, or swallow many as one, without a word. Hence every physical line is
counted when the file is opened and accounted for after it was read. Lines above LINE_BYTES are refused before they are held.
"""

import codecs
import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

import duckdb

from counterfoil.errors import ContractError
from counterfoil.importers.sql import column, files, literal

Encoding = Literal["utf-8", "latin-1", "utf-16"]
LINE_BYTES = 1_000_000
CHUNK_BYTES = 1_000_000
WHOLE_LINE = "line"


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How columns are parted. An empty `separator`: the line is one column called `line`, without a header."""

    separator: str = ","
    quote: str = '"'
    escape: str = '"'
    encoding: Encoding = "utf-8"

    @property
    def header(self) -> bool:
        """Whether the first line names the columns."""
        return self.separator != ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delimited:
    """Text files of one shape with the same header, and how many physical lines they hold below it."""

    paths: tuple[Path, ...]
    columns: tuple[str, ...]
    lines: int
    shape: Shape = field(default_factory=Shape)

    def relation(self, rejects: str | None = None) -> str:
        """Return the relation over the files, all columns as text; unreadable lines go to the table `rejects`."""
        shape = self.shape
        types = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.columns)
        kept = "ignore_errors = true"
        if rejects:
            kept = f"store_rejects = true, rejects_table = {literal(rejects)}, rejects_scan = {literal(rejects + '_scan')}"
        return (
            f"read_csv({files(self.paths)}, auto_detect = false, header = {shape.header}, columns = {{{types}}}, "
            f"delim = {literal(shape.separator or chr(31))}, quote = {literal(shape.quote if shape.header else '')}, "
            f"escape = {literal(shape.escape if shape.header else '')}, encoding = {literal(shape.encoding)}, "
            f"max_line_size = {LINE_BYTES}, {kept})"
        )

    def account(self, con: duckdb.DuckDBPyConnection, rows: int, rejects: str) -> int:
        """Return how many lines could not be read; ContractError unless they and `rows` make up every physical line.

        Lines that a stray quote swallowed count one by one.
        """
        unreadable = _count(con, f"SELECT count(*) FROM ({unreadable_lines(rejects)})")
        if rows + unreadable == self.lines and not unreadable:
            return 0
        names = ", ".join(path.name for path in self.paths)
        if self.shape.escape != "\\" and self.shape.header and (found := _backslashed(self)):
            raise ContractError(
                f'{names}: {found} lines hold \\", so quotes are escaped by a backslash; say escape: "\\\\" in a mapping'
            )
        if rows == 0 and unreadable:
            raise ContractError(
                f"{names}: none of {self.lines} lines can be read; say separator, quote, escape and encoding in a mapping"
            )
        lost = self.lines - rows - unreadable - self._spanned(con) - _blank_lines(self)
        if lost:
            raise ContractError(
                f"{names}: {rows} records and {unreadable} unreadable lines do not make up its {self.lines} lines "
                f"({lost} too {'few' if lost > 0 else 'many'}); give the right quote and escape in a mapping"
            )
        return unreadable

    def _spanned(self, con: duckdb.DuckDBPyConnection) -> int:
        """Return how many lines are the second or a later one of a record, blank ones aside."""
        values = [f"coalesce({column(name)}, '')" for name in self.columns]
        breaks = " + ".join(_breaks(value) for value in values)
        blank = "len(list_filter(string_split({}, chr(10))[2:-2], lambda x: x IN ('', chr(13))))"
        total = f"sum({breaks}) - sum({' + '.join(map(blank.format, values))})"
        return _count(con, f"SELECT coalesce({total}, 0) FROM {self.relation()}")


def unreadable_lines(rejects: str) -> str:
    """Return the query of the unreadable lines in the table `rejects`: file_id, line, byte, says.

    `line` is the reader's count, which takes a record over several lines for one; `byte`, from 1, is where it begins.
    """
    said = "trim(csv_line, chr(10) || chr(13))"  # blank lines before and after it are not part of it
    return f"""
        SELECT file_id, line + unnest(range(1 + max({_breaks(said)}))) AS line, min(line_byte_position) AS byte,
               'line cannot be read: ' || lower(min(CAST(error_type AS VARCHAR))) AS says
        FROM {rejects} GROUP BY file_id, line"""


def delimited(paths: tuple[Path, ...], shape: Shape | None = None) -> Delimited:
    """Open text files: read the header, count lines, refuse endless ones. Raises ContractError."""
    shape = shape or Shape()
    headers = {path: _header(path, shape) for path in paths}
    columns = headers[paths[0]]
    for path, names in headers.items():
        if names != columns:
            raise ContractError(f"{path.name} has other columns than {paths[0].name}; import them one by one")
    lines = sum(_lines(path, shape) - shape.header for path in paths)
    return Delimited(paths=paths, columns=columns, lines=lines, shape=shape)


def refuse_undecodable(text: Delimited) -> None:
    """Raise ContractError when a byte is not of the encoding; for texts whose lines are not accounted for."""
    for path in text.paths:
        with open_bytes(path) as stream:
            for number, line in enumerate(stream, 1):
                try:
                    line.decode(text.shape.encoding)
                except UnicodeDecodeError as fault:
                    raise ContractError(
                        f"line {number} of {path.name} is not {text.shape.encoding}; convert it"
                    ) from fault


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, unpacked when its name ends in .gz."""
    return gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]


def _header(path: Path, shape: Shape) -> tuple[str, ...]:
    if not shape.header:
        return (WHOLE_LINE,)
    with open_bytes(path) as stream:
        start = _unpacked(path, stream, LINE_BYTES)
    if not start:
        raise ContractError(f"{path.name} is empty; export it again")
    text = codecs.getincrementaldecoder(shape.encoding)("replace").decode(start).removeprefix("\ufeff")
    escape = None if shape.escape == shape.quote else shape.escape or None
    reader = csv.reader(
        io.StringIO(text), delimiter=shape.separator, quotechar=shape.quote or None, escapechar=escape
    )
    names = tuple(name.strip() for name in next(reader, []))
    if any("\x00" in name or "\ufffd" in name for name in names):
        raise ContractError(
            f"{path.name} is not {shape.encoding} text; say its encoding in a mapping (utf-8, latin-1, utf-16)"
        )
    if not names or "" in names or len(set(names)) != len(names):
        raise ContractError(
            f"the header of {path.name} names a column twice or not at all; mend its first line"
        )
    return names


def _lines(path: Path, shape: Shape) -> int:
    """Count physical lines in bounded memory; refuse one that does not end within LINE_BYTES."""
    count = length = 0
    ended = True
    with open_bytes(path) as stream:
        for chunk in _chunks(path, stream, shape):
            first = chunk.find(b"\n")
            length += len(chunk) if first < 0 else first
            if length > LINE_BYTES:
                raise ContractError(
                    f"line {count + 1} of {path.name} is longer than {LINE_BYTES:,} bytes; check that its lines end"
                )
            if first >= 0:
                count += chunk.count(b"\n")
                length = len(chunk) - chunk.rfind(b"\n") - 1
            ended = chunk.endswith(b"\n")
    return count + (not ended)


def _chunks(path: Path, stream: IO[bytes], shape: Shape) -> Iterator[bytes]:
    # UTF-16 has the byte of a line feed inside other characters, hence goes through UTF-8.
    decoder = codecs.getincrementaldecoder("utf-16")("replace") if shape.encoding == "utf-16" else None
    while chunk := _unpacked(path, stream, CHUNK_BYTES):
        yield decoder.decode(chunk).encode() if decoder else chunk


def _unpacked(path: Path, stream: IO[bytes], size: int) -> bytes:
    try:
        return stream.read(size)
    except (OSError, EOFError) as fault:
        raise ContractError(f"{path.name} cannot be unpacked ({fault}); copy it again") from fault


def _blank_lines(text: Delimited) -> int:
    return sum(line in ("\n", "\r\n") for line in _text_lines(text))


def _backslashed(text: Delimited) -> int:
    return sum('\\"' in line for line in _text_lines(text))


def _text_lines(text: Delimited) -> Iterator[str]:
    for path in text.paths:
        with open_bytes(path) as stream:
            yield from io.TextIOWrapper(stream, encoding=text.shape.encoding, errors="replace", newline="")


def _breaks(value: str) -> str:
    return f"(length({value}) - length(replace({value}, chr(10), '')))"


def _count(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row else 0

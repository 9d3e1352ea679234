"""Delimited text: every value as it was written, every line accounted for."""

import csv
import io
import random
from pathlib import Path

import pytest

from counterfoil.errors import ContractError
from counterfoil.importers import open_source
from counterfoil.importers.text import Shape, delimited
from counterfoil.landing import land, read_manifest
from tests.landing_shop import landed_rows, settings_of

HEADER = ["id", "time", "person", "kind", "item", "query"]
PIECES = ['"', '""', ",", "\n", "\r\n", "a", "ann", " ", "\n\n", "é", "\\x", ";", "\t"]


def piled(rng: random.Random, most: int) -> str:
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, most)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_what_is_quoted_well_comes_back_to_the_letter(tmp_path: Path, end: str, encoding: str):
    rng = random.Random(7)
    rows = [(f"e{i:05}", "x" + piled(rng, 3), piled(rng, 6)) for i in range(3000)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=end)
    writer.writerow(HEADER)
    for id, item, query in rows:
        writer.writerow([id, "2024-03-01", "ann", "view", item, query])
        text.write(end * (rng.random() < 0.05))
    (tmp_path / "log.csv").write_bytes(text.getvalue().encode(encoding))
    columns = ", ".join(f"{name}: {name}" for name in HEADER)
    (tmp_path / "m.yaml").write_text(f"name: x\nevents:\n  encoding: {encoding}\n  columns: {{{columns}}}\n")
    settings = settings_of(tmp_path / "home")
    landed = land(open_source("mapped", tmp_path / "log.csv", mapping=tmp_path / "m.yaml"), settings)
    assert (landed.rows_in, landed.landed) == (3000, 3000)
    assert [(r["id"], r["item"], r["query"] or "") for r in landed_rows(settings)] == rows


def test_torn_files_add_up_or_are_refused(tmp_path: Path):
    rng, refused = random.Random(11), 0
    for n in range(20):
        rows = [["e" + str(i), "2024-03-01", "ann", "view", "x", ""] for i in range(12)]
        for _ in range(rng.randint(1, 3)):
            rows[rng.randrange(12)][rng.randrange(6)] = piled(rng, 3)
        path = tmp_path / f"{n}.csv"
        path.write_bytes("\n".join(",".join(row) for row in [HEADER, *rows, []]).encode())
        settings = settings_of(tmp_path / f"home-{n}")
        try:
            landed = land(open_source("contract", path), settings)
        except ContractError:
            refused += 1
            assert read_manifest(settings).rows == 0
        else:
            assert landed.rows_in == landed.landed + landed.duplicates + landed.quarantined
            assert landed.rows_in >= landed.landed == read_manifest(settings).rows
    assert 0 < refused < 20


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a,b\n", 0),
        (b"a,b", 0),
        (b"a,b\n1,2", 1),
        (b"a,b\n1,2\n", 1),
        (b"a,b\r\n1,2\r\n\r\n", 2),
        (b"\xef\xbb\xbfa,b\n1,2\n", 1),
    ],
)
def test_lines_below_the_header_are_counted(tmp_path: Path, content: bytes, lines: int):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    text = delimited((path,))
    assert (text.columns, text.lines) == (("a", "b"), lines)


def test_a_line_may_be_as_long_as_the_bound_also_across_chunks(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1," + b"x" * 999_990 + b"\n2," + b"y" * 999_990 + b"\n")
    assert delimited((path,)).lines == 2
    path.write_bytes(b"a,b\n1," + b"x" * 999_990 + b"\n2," + b"y" * 1_000_010 + b"\n")
    with pytest.raises(ContractError, match=r"line 3 of t\.csv is longer than 1,000,000 bytes"):
        delimited((path,))


def test_a_line_feed_inside_a_character_of_utf16_is_no_line(tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_bytes("a,b\n\u0a0a,\u010a\n".encode("utf-16"))
    assert delimited((path,), Shape(encoding="utf-16")).lines == 1


def test_files_with_other_columns_are_not_mixed(tmp_path: Path):
    (tmp_path / "1.csv").write_text("a,b\n")
    (tmp_path / "2.csv").write_text("b,a\n")
    with pytest.raises(ContractError, match=r"2\.csv has other columns than 1\.csv"):
        delimited((tmp_path / "1.csv", tmp_path / "2.csv"))

"""Files as they should not be: one clear sentence when a file is none, quarantine when a row is; what landed before stays."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import ContractError, InputError, UnknownError
from counterfoil.importers import open_source
from counterfoil.landing import Landed, land, read_manifest
from counterfoil.settings import Settings
from tests.landing_shop import (
    bought,
    events_csv,
    hashes,
    landed_rows,
    parquet,
    settings_of,
    source_of,
)

PROJECT = Path(__file__).resolve().parents[2]
HEAD = b"id,time,person,kind,item\n"
LINE = b"a,2024-03-01,ann,view,x\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = settings_of(tmp_path / "home")
    land(source_of(tmp_path, "before", [bought("before", "2024-02-01")]), settings)
    return settings


def refused(settings: Settings, path: Path, says: str, kind: str = "contract") -> None:
    before = hashes(settings)
    with pytest.raises(ContractError, match=says) as caught:
        land(open_source(kind, path), settings)
    assert "\n" not in str(caught.value)
    assert hashes(settings) == before


def taken(settings: Settings, path: Path) -> Landed:
    return land(open_source("contract", path), settings)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "bad.csv is empty"),
        (b"\n\n", "names a column twice or not at all"),
        (HEAD.decode().encode("utf-16") + LINE, "is not utf-8 text; say its encoding"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is not utf-8 text"),
        (b"id,time,person\na,2024-03-01,ann\n", r"lacks the column\(s\) kind; there are id, time, person"),
        (b"id,time,person,kind,item,item\n", "names a column twice"),
        (b"id,time,person,kind,item,nonsense\n" + LINE, "columns that no event has: nonsense"),
        (b"id;time;person;kind;item\n" + LINE, r"columns that no event has: id;time;person;kind;item"),
        (HEAD + b"a,2024-03-01,ann\n" * 3, "none of 3 lines can be read"),
        (HEAD + b'a,2024-03-01,ann,view,"x \\" y"\n' + LINE, r'1 lines hold \\", so quotes are escaped by a backslash'),
        (HEAD + b"a,2024-03-01,ann,view," + b"x" * 1_000_001 + b"\n", "line 2 of bad.csv is longer than 1,000,000 bytes"),
    ],
    ids=["empty", "blank", "utf16", "image", "columns", "twice", "strange", "separator", "torn", "backslash", "long"],
)  # fmt: skip
def test_a_file_that_is_no_table_of_events_is_refused(
    tmp_path: Path, settings: Settings, content: bytes, says: str
):
    refused(settings, written(tmp_path / "bad.csv", content), says)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("bad.parquet", b"", "not a whole Parquet file"),
        ("bad.parquet", b"PAR1 and then something else", "not a whole Parquet file"),
        ("bad.jsonl", b"", "bad.jsonl is empty"),
        ("bad.csv.gz", b"no gzip at all", "cannot be unpacked"),
        ("bad.xlsx", b"PK", "the ending tells no format"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    tmp_path: Path, settings: Settings, name: str, content: bytes, says: str
):
    refused(settings, written(tmp_path / name, content), says)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_truncated_parquet_is_refused(tmp_path: Path, settings: Settings, keep: float):
    whole = parquet(tmp_path / "whole.parquet", id=[str(i) for i in range(1000)], time=["2024-03-01"] * 1000,
                    person=["ann"] * 1000, kind=["view"] * 1000, item=["x"] * 1000).read_bytes()  # fmt: skip
    refused(
        settings,
        written(tmp_path / "bad.parquet", whole[: int(len(whole) * keep)]),
        "not a whole Parquet file",
    )


def test_parquet_with_bytes_torn_inside_is_refused_or_told_by_its_digest(tmp_path: Path, settings: Settings):
    path = parquet(tmp_path / "torn.parquet", id=[os.urandom(40).hex() for _ in range(5000)], time=["2024-03-01"] * 5000,
                   person=["ann"] * 5000, kind=["view"] * 5000, item=["x"] * 5000)  # fmt: skip
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    refused(settings, written(path, bytes(content)), "cannot be read")


def test_truncated_gzip_is_refused(tmp_path: Path, settings: Settings):
    packed = gzip.compress(HEAD + LINE * 1000)
    refused(settings, written(tmp_path / "bad.csv.gz", packed[: len(packed) // 2]), "cannot be unpacked")


def test_packed_text_lands_as_plain_text_does(tmp_path: Path, settings: Settings):
    landed = taken(settings, written(tmp_path / "good.csv.gz", gzip.compress(HEAD + LINE)))
    assert (landed.rows_in, landed.landed) == (1, 1)


def test_nothing_there_is_said(tmp_path: Path):
    with pytest.raises(ContractError, match="there is no"):
        open_source("contract", tmp_path / "nowhere.csv")
    with pytest.raises(ContractError, match="needs a file or folder"):
        open_source("contract")
    with pytest.raises(ContractError, match="holds none of events, items, people"):
        open_source("contract", tmp_path)
    with pytest.raises(UnknownError, match="no importer is called 'amazon'; there are complete-journey"):
        open_source("amazon", tmp_path)


def test_a_header_alone_is_an_import_of_nothing(tmp_path: Path, settings: Settings):
    landed = taken(settings, written(tmp_path / "head.csv", HEAD))
    assert (landed.rows_in, landed.landed, landed.days) == (0, 0, ())


def test_single_bad_rows_go_to_quarantine(tmp_path: Path, settings: Settings):
    rows = [
        bought("good", "2024-03-01"),
        bought("year 0", "0000-01-01"),
        bought("year 9999", "9999-12-31"),
        bought("negative", "2024-03-01", price="-3"),
        bought("mixed", "2024-03-01", quantity="two"),
        bought("endless", "infinity"),
        bought("", "2024-03-01"),
        bought("nan", "2024-03-01", price="nan"),
    ]
    landed = taken(settings, events_csv(tmp_path / "mixed.csv", rows))
    assert (landed.rows_in, landed.landed, landed.quarantined) == (8, 1, 7)
    assert landed.reasons == {
        "id is missing": 1,
        "price is below 0": 1,
        "price is not finite": 1,
        "quantity is not a number": 1,
        "time is above 2100-01-01": 1,
        "time is below 1990-01-01": 1,
        "time is not finite": 1,
    }
    assert [row["id"] for row in landed_rows(settings)] == ["before", "good"]


def test_dates_beyond_what_python_knows_are_quarantined_from_parquet(tmp_path: Path, settings: Settings):
    times = pa.array(
        [-377_705_116_800_000_001, 253_402_300_800_000_000, 1_700_000_000_000_000], pa.timestamp("us", "UTC")
    )
    path = tmp_path / "far.parquet"
    pq.write_table(
        pa.table(
            {
                "id": ["a", "b", "c"],
                "time": times,
                "person": ["x"] * 3,
                "kind": ["view"] * 3,
                "item": ["i"] * 3,
            }
        ),
        path,
    )
    landed = taken(settings, path)
    assert (landed.landed, landed.reasons) == (
        1,
        {"time is above 2100-01-01": 1, "time is below 1990-01-01": 1},
    )


def test_nanoseconds_of_pandas_with_and_without_a_zone_land(tmp_path: Path, settings: Settings):
    for zone in (None, "UTC", "Europe/Berlin"):
        times = pa.array([1_700_000_000_000_000_000], pa.timestamp("ns", zone))
        path = tmp_path / f"{zone or 'naive'}.parquet".replace("/", "-")
        pq.write_table(
            pa.table(
                {"id": [zone or "naive"], "time": times, "person": ["x"], "kind": ["view"], "item": ["i"]}
            ),
            path,
        )
        assert taken(settings, path).landed == 1
    assert {row["time"].isoformat() for row in landed_rows(settings)[:3]} == {"2023-11-14T22:13:20+00:00"}


def test_columns_of_other_types_in_a_second_file_are_refused(tmp_path: Path, settings: Settings):
    folder = tmp_path / "data"
    parquet(
        folder / "events/1.parquet",
        id=["a"],
        time=["2024-03-01"],
        person=["x"],
        kind=["view"],
        item=["i"],
        price=[1.0],
    )
    parquet(
        folder / "events/2.parquet",
        id=["b"],
        time=["2024-03-01"],
        person=["x"],
        kind=["view"],
        item=["i"],
        price=["dear"],
    )
    refused(settings, folder, "cannot be read")


def test_a_quote_that_swallows_lines_loses_none_of_them(tmp_path: Path, settings: Settings):
    content = HEAD + LINE + b'b,2024-03-01,ann,view,"x\nc,2024-03-01,ann,view,y\nd,2024-03-01,ann,view,z\n'
    landed = taken(settings, written(tmp_path / "quote.csv", content))
    assert (landed.rows_in, landed.landed, landed.quarantined) == (4, 1, 3)
    assert landed.reasons == {"line cannot be read: unquoted value": 3}


def test_values_over_several_lines_and_blank_lines_are_no_loss(tmp_path: Path, settings: Settings):
    content = (
        HEAD.replace(b"item", b"item,query")
        + b'\na,2024-03-01,ann,view,x,"one\ntwo\n\nthree"\n\nb,2024-03-01,ann,view\nc,2024-03-01,ann,view,x,\n'
    )
    landed = taken(settings, written(tmp_path / "lines.csv", content))
    assert (landed.rows_in, landed.landed, landed.quarantined) == (3, 2, 1)
    assert landed_rows(settings)[1]["query"] == "one\ntwo\n\nthree"


def test_lines_that_are_no_json_go_to_quarantine(tmp_path: Path, settings: Settings):
    good = '{"id":"a","time":"2024-03-01T00:00:00Z","person":"ann","kind":"view","item":"x","quantity":2}'
    landed = taken(settings, written(tmp_path / "mixed.jsonl", f'{good}\n{{"id": \n[1,2]\n"text"\n'.encode()))
    assert (landed.rows_in, landed.landed, landed.quarantined) == (4, 1, 3)
    assert landed.reasons == {"line is not a JSON object": 3}


ENDLESS = """
import resource, sys
from pathlib import Path

def held():
    status = Path("/proc/self/status").read_text()
    return next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))

from counterfoil.errors import ContractError
from counterfoil.importers import open_source
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
try:
    open_source("contract", Path(sys.argv[1]))
except ContractError as fault:
    sys.stdout.write(f"{fault}|{held()}")
"""


@pytest.mark.parametrize("name", ["endless.csv", "endless.jsonl", "endless.csv.gz"])
def test_an_endless_line_is_refused_without_being_held(tmp_path: Path, name: str):
    path = tmp_path / name
    with gzip.open(path, "wb", compresslevel=1) if name.endswith(".gz") else path.open("wb") as file:
        file.write(HEAD)
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    limit = 2_500_000_000
    done = subprocess.run(
        [sys.executable, "-c", ENDLESS, path, str(limit)],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        timeout=60,
    )
    says, peak_kb = done.stdout.split("|")
    assert says == f"line 2 of {name} is longer than 1,000,000 bytes; check that its lines end"
    assert int(peak_kb) < 180_000


def test_an_error_of_input_ends_the_command_line_with_its_own_code():
    assert (ContractError("x").exit_code, issubclass(ContractError, InputError)) == (2, True)


def test_what_landed_before_is_still_there_after_a_refusal(tmp_path: Path, settings: Settings):
    refused(settings, written(tmp_path / "bad.csv", b""), "empty")
    assert read_manifest(settings).rows == 1
    assert [row["id"] for row in landed_rows(settings)] == ["before"]

"""What validate_days counts, held against GX on the raw rows; chunks, order, repetition; reports without raw values."""

import hashlib
import re
from dataclasses import asdict
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil import canonical
from counterfoil.contracts import EVENT
from counterfoil.errors import InputError
from counterfoil.types import Check, Verdict
from flows.gate import Policy, validate_days, validate_snapshot, write_data_docs, write_report

CANARIES = (
    "canary-person",
    "canary-session",
    "canary query words",
    "canary@mail.example",
    "canary-household",
)


def events(day: str, rows: int, **columns: object) -> pa.Table:
    """Return a day of purchases; `columns` replaces whole columns."""
    start = datetime.fromisoformat(day).replace(tzinfo=UTC)
    times = (np.datetime64(start.replace(tzinfo=None), "us") + np.arange(rows) * 60_000_000).astype(
        "datetime64[us]"
    )
    base: dict[str, object] = {
        "id": [f"{day}-{n:04d}" for n in range(rows)],
        "time": pa.array(times).cast(pa.timestamp("us", tz="UTC")),
        "person": [f"p{n % 40}" for n in range(rows)],
        "kind": ["purchase"] * rows,
        "item": [f"item{n % 30}" for n in range(rows)],
        "quantity": [1.0 + n % 3 for n in range(rows)],
        "price": [2.0 + n % 17 for n in range(rows)],
        "channel": [("store", "web")[n % 2] for n in range(rows)],
    }
    table = base | columns
    arrays = [
        pa.array(table[f.name], f.type) if f.name in table else pa.nulls(rows, f.type) for f in EVENT.arrow()
    ]
    return pa.table(arrays, schema=EVENT.arrow())


def land(landing: Path, tables: dict[str, pa.Table]) -> dict[str, str]:
    """Write the days and a catalogue of 30 items; return the days with their digests."""
    landing.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": [f"item{n}" for n in range(30)]}), landing / "items.parquet")
    days = {}
    for day, table in tables.items():
        path = landing / "events" / f"day={day}" / "events.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path)
        days[day] = hashlib.sha256(path.read_bytes()).hexdigest()
    return days


def week(rows: int = 200) -> dict[str, pa.Table]:
    return {f"2026-03-0{n}": events(f"2026-03-0{n}", rows + n) for n in range(1, 8)}


def broken_day(day: str) -> pa.Table:
    """Return a day with several faults in several columns, some rows with more than one."""
    rows = 300
    rng = np.random.default_rng(4)
    price = [None if n % 50 == 0 else float(v) for n, v in enumerate(rng.normal(3, 2.5, rows))]
    return events(
        day,
        rows,
        person=[None if n % 11 == 0 else f"p{n % 40}" for n in range(rows)],
        kind=["buy" if n % 7 == 0 else None if n % 13 == 0 else "purchase" for n in range(rows)],
        price=price,
        channel=["c" * (60 + n % 10) for n in range(rows)],
        quantity=[2e6 if n % 90 == 0 else 1.0 + n % 4 for n in range(rows)],
        position=[n % 5 for n in range(rows)],
    )


def test_the_profile_counts_what_gx_counts_on_the_raw_rows(tmp_path: Path) -> None:
    """Independent of our SQL: Great Expectations' own row expectations on the same day as a pandas frame."""
    import great_expectations as gx
    import great_expectations.expectations as gxe

    table = broken_day("2026-03-02")
    (verdict,) = validate_days(tmp_path, land(tmp_path, {"2026-03-02": table}))
    rows = table.to_pandas()
    batch = gx.get_context(mode="ephemeral").data_sources.add_pandas("rows").add_dataframe_asset("rows")
    validate = batch.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": rows}).validate
    raw = {
        ("person", "not_null"): gxe.ExpectColumnValuesToNotBeNull(column="person"),
        ("kind", "not_null"): gxe.ExpectColumnValuesToNotBeNull(column="kind"),
        ("kind", "in_set"): gxe.ExpectColumnValuesToBeInSet(
            column="kind", value_set=list(EVENT.field("kind").values)
        ),
        ("price", "in_bounds"): gxe.ExpectColumnValuesToBeBetween(column="price", min_value=0, max_value=1e7),
        ("quantity", "in_bounds"): gxe.ExpectColumnValuesToBeBetween(
            column="quantity", min_value=-1e6, max_value=1e6
        ),
        ("position", "in_bounds"): gxe.ExpectColumnValuesToBeBetween(
            column="position", min_value=1, max_value=1_000_000
        ),
        ("channel", "length_within"): gxe.ExpectColumnValueLengthsToBeBetween(column="channel", max_value=64),
    }
    counts = {(c.column, c.expectation): c.unexpected_count for c in verdict.checks}
    for key, expectation in raw.items():
        found = validate(expectation).result["unexpected_count"]
        assert (key, counts[key]) == (key, found)
        assert found > 0


def test_chunks_do_not_change_the_verdicts(tmp_path: Path) -> None:
    days = land(tmp_path, week() | {"2026-03-08": broken_day("2026-03-08")})
    seen: list[tuple[str, int]] = []
    whole = validate_days(tmp_path, days, progress=lambda step, rows: seen.append((step, rows)))
    small = validate_days(tmp_path, days, policy=Policy(chunk_rows=250))
    assert small == whole
    assert seen == [("validate", 7 * 200 + 28 + 300)]
    assert [v.id for v in whole] == [v.id for v in validate_days(tmp_path, dict(reversed(days.items())))]


def test_one_day_alone_gets_the_verdict_that_it_gets_among_all(tmp_path: Path) -> None:
    days = land(tmp_path, week())
    assert validate_days(tmp_path, {"2026-03-06": days["2026-03-06"]}) == validate_days(tmp_path, days)[5:6]


def test_no_days_give_no_verdicts_and_a_wrong_key_is_named(tmp_path: Path) -> None:
    assert validate_days(tmp_path, {}) == ()
    with pytest.raises(InputError, match="'2026-3-1' names no day"):
        validate_days(tmp_path, {"2026-3-1": "ab"})


def test_a_folder_with_a_quote_in_its_name_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    (verdict,) = validate_days(folder, land(folder, {"2026-03-02": events("2026-03-02", 50)}))
    assert (verdict.passed, verdict.rows, verdict.subject) == (True, 50, "day:2026-03-02")


def test_the_clock_is_an_argument(tmp_path: Path) -> None:
    days = land(tmp_path, {"2026-03-02": events("2026-03-02", 50)})
    (early,) = validate_days(tmp_path, days, as_of=datetime(2026, 3, 2, 0, 10, tzinfo=UTC))
    failed = [(c.expectation, c.unexpected_count) for c in early.checks if not c.success]
    assert failed == [("not_in_future", 39)]


@pytest.fixture(scope="module")
def canary_verdicts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdict, ...]:
    """Return verdicts on data that is wrong in every way in which a value could leak, canaries in the personal columns."""
    tmp_path = tmp_path_factory.mktemp("canaries")
    person, session, query, mail, household = CANARIES
    rows = 120
    wrong = events(
        "2026-03-02",
        rows,
        id=[mail if n < 3 else f"e{n}" for n in range(rows)],
        person=[person if n % 2 else None for n in range(rows)],
        session=[session * 20] * rows,
        query=[query] * rows,
        kind=[person if n % 3 else "search" for n in range(rows)],
        item=[person] * rows,
        price=[-1.0] * rows,
    )
    swapped = events("2026-03-03", rows).set_column(5, person, pa.array([session] * rows))
    days = validate_days(tmp_path, land(tmp_path, {"2026-03-02": wrong, "2026-03-03": swapped}))
    folder = tmp_path / "dataset"
    folder.mkdir()
    moments = pa.array([0] * 200, pa.timestamp("us", tz="UTC"))
    table = {
        "person": [9] * 200,
        "item": [5] * 200,
        "time": moments,
        "kind": [person] * 200,
        "quantity": [1.0] * 200,
    }
    pq.write_table(pa.table(table | {"price": [1.0] * 200}), folder / "interactions.parquet")
    pq.write_table(pa.table({"id": [household, household, None]}), folder / "people.parquet")
    pq.write_table(pa.table({"id": ["item1"], "category": [person]}), folder / "items.parquet")
    moment = datetime(2026, 3, 4, tzinfo=UTC)
    whole = validate_snapshot(folder, subject="dataset-1", sha256="ab", as_of=moment, reference=folder)
    return (*days, whole)


def test_no_raw_personal_value_reaches_a_verdict_a_report_or_data_docs(
    canary_verdicts: tuple[Verdict, ...], tmp_path: Path
) -> None:
    verdicts = canary_verdicts
    assert sum(not c.success for v in verdicts for c in v.checks) >= 20
    write_report(verdicts, tmp_path / "out")
    write_data_docs(verdicts, tmp_path / "out" / "docs")
    (tmp_path / "out" / "verdicts.json").write_bytes(orjson.dumps([asdict(v) for v in verdicts]))
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len([path for path in files if path.suffix == ".html"]) >= 5
    for path in files:
        for canary in CANARIES:
            assert canary.encode() not in path.read_bytes(), f"{canary} in {path}"


def test_an_event_id_that_looks_like_an_address_is_shown_as_a_digest(
    canary_verdicts: tuple[Verdict, ...],
) -> None:
    (check,) = (c for c in canary_verdicts[0].checks if c.expectation == "unique")
    assert check.samples == ("sha256:" + hashlib.sha256(b"canary@mail.example").hexdigest()[:16],)


class Page(HTMLParser):
    """Collects what a page would load, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {n}={v}" for n, v in attrs if n in ("src", "href", "srcset", "data", "action")]
        self.loads += [tag] if tag in ("script", "iframe", "object", "embed", "link") else []

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_report_loads_nothing_and_is_the_same_twice(tmp_path: Path) -> None:
    verdicts = validate_days(tmp_path, land(tmp_path, week() | {"2026-03-08": broken_day("2026-03-08")}))
    first = write_report(verdicts, tmp_path / "one").read_bytes()
    assert first == write_report(verdicts, tmp_path / "two").read_bytes()
    page = Page()
    page.feed(first.decode())
    assert page.loads == []
    text = " ".join(page.words)
    assert "8 validated: 7 passed, 1 refused." in text
    assert "person not_null" in text
    assert b"url(" not in first and b"@import" not in first


def test_what_a_verdict_says_is_escaped(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script>"
    check = Check(
        expectation=nasty, column=None, severity="critical", success=False, observed=nasty, samples=(nasty,)
    )
    verdict = Verdict(subject=nasty, sha256=nasty, rows=1, passed=False, checks=(check,), suite=nasty)
    page = write_report([verdict], tmp_path).read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_report_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        write_report([], tmp_path)
    with pytest.raises(InputError):
        write_data_docs([], tmp_path)


def test_a_broken_expectation_shows_in_data_docs_as_a_failure(tmp_path: Path) -> None:
    check = Check(
        expectation="volume",
        column=None,
        severity="critical",
        success=False,
        errored=True,
        observed="it raised",
    )
    verdict = Verdict(
        subject="day:2026-03-02",
        sha256="ab",
        rows=1,
        passed=False,
        checks=(check,),
        suite="one#1@00",
        faulted=True,
    )
    index = write_data_docs([verdict], tmp_path)
    assert index.exists()
    (page,) = (tmp_path / "validations").rglob("*.html")
    shown = " ".join(pd.Series(page.read_text()).str.split().iloc[0])
    assert "Failed" in shown and "-1" in shown


def test_opening_data_docs_contacts_nobody(tmp_path: Path) -> None:
    """Nothing in a page is loaded, run or followed: no script, no style, picture or link of another machine."""
    (verdict,) = validate_days(tmp_path, land(tmp_path, {"2026-03-02": events("2026-03-02", 50)}))
    index = write_data_docs([verdict], tmp_path / "docs")
    pages = sorted((tmp_path / "docs").rglob("*.html"))
    assert index in pages and len(pages) >= 3
    for page in pages:
        html = page.read_text()
        assert not re.search(r"<(script|link|img|iframe|base|object|embed)\b", html, re.IGNORECASE)
        assert not re.search(r"(src|href|action)\s*=\s*[\"']?(https?:)?//|url\(|@import", html, re.IGNORECASE)
        assert "default-src 'none'" in html
    linked = re.findall(r'href="([^"]+)"', index.read_text())
    assert len(linked) == len(pages) - 1 and all((tmp_path / "docs" / name).is_file() for name in linked)
    (shown,) = (page.read_text() for page in pages if "validations" in page.parts)
    assert "event-day" in shown and "expectation" in shown.lower() and "2026-03-02" in str(pages) + shown


def test_a_verdict_is_a_noun_with_a_stable_id(tmp_path: Path) -> None:
    (verdict,) = validate_days(tmp_path, land(tmp_path, {"2026-03-02": events("2026-03-02", 50)}))
    assert verdict.id == f"verdict-{canonical.sha256(asdict(verdict))[:16]}"

"""Any table by a mapping file: CSV, Parquet, JSON lines; times, kinds, ids, escapes; faults named all at once."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.errors import ContractError
from counterfoil.importers import open_source
from counterfoil.importers.mapping import read_mapping
from counterfoil.landing import Landed, land, quarantined_rows
from counterfoil.settings import Settings
from tests.landing_shop import landed_rows, parquet, settings_of, table_rows


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home")


def written(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_text(content, encoding=encoding)
    return path


def mapped(settings: Settings, path: Path, mapping: str) -> Landed:
    how = written(path.parent / "mapping.yaml", mapping)
    return land(open_source("mapped", path, mapping=how), settings)


SHOP = """
name: my shop
events:
  separator: ";"
  columns: {time: When, person: Customer, kind: Action, item: Sku, price: Price}
  constants: {channel: web, quantity: 1}
  kinds: {bought: purchase, seen: view}
  time: {format: "%d.%m.%Y %H:%M", zone: Europe/Berlin}
  id: {prefix: s, columns: [Customer, When, Sku], number_repeats: true}
"""


def test_a_shops_own_csv(tmp_path: Path, settings: Settings):
    path = written(
        tmp_path / "log.csv",
        "When;Customer;Action;Sku;Price;Other\n"
        "01.07.2024 10:00;ann;bought;milk;1.5;x\n"
        "01.07.2024 10:00;ann;bought;milk;1.5;x\n"
        "31.12.2024 00:30;bob;seen;tea;;x\n"
        "31/12/2024 00:30;bob;seen;tea;;x\n"
        "31.12.2024 00:30;bob;stolen;tea;;x\n",
    )
    landed = mapped(settings, path, SHOP)
    assert (landed.rows_in, landed.landed, landed.quarantined) == (5, 3, 2)
    assert landed.reasons == {"kind is none of the allowed values": 1, "time is not a time": 1}
    rows = [
        (r["id"], r["time"].isoformat(), r["kind"], r["price"], r["channel"], r["quantity"])
        for r in landed_rows(settings)
    ]
    assert rows == [
        ("s:ann:01.07.2024 10::00:milk:1", "2024-07-01T08:00:00+00:00", "purchase", 1.5, "web", 1.0),
        ("s:ann:01.07.2024 10::00:milk:2", "2024-07-01T08:00:00+00:00", "purchase", 1.5, "web", 1.0),
        ("s:bob:31.12.2024 00::30:tea:1", "2024-12-30T23:30:00+00:00", "view", None, "web", 1.0),
    ]
    held = quarantined_rows(settings, landed.batch).to_pylist()
    assert [row["row"] for row in held] == [4, 5]
    assert '"time":"31/12/2024 00:30"' in held[0]["raw"]


def test_ids_do_not_run_together(tmp_path: Path, settings: Settings):
    path = written(
        tmp_path / "log.csv",
        "a,b,t\n1:2,3,2024-03-01\n1,2:3,2024-03-01\n,123,2024-03-01\n1,,2024-03-01\n,1,2024-03-01\n",
    )
    landed = mapped(settings, path, """
name: ids
events:
  columns: {time: t, person: t}
  constants: {kind: treatment}
  id: {columns: [a, b]}
""")  # fmt: skip
    assert (landed.landed, landed.duplicates) == (5, 0)


@pytest.mark.parametrize(
    ("unit", "said", "time"),
    [
        ("s", "1709287200", "2024-03-01T10:00:00+00:00"),
        ("s", "1709287200.25", "2024-03-01T10:00:00.250000+00:00"),
        ("ms", "1709287200123", "2024-03-01T10:00:00.123000+00:00"),
        ("us", "1709287200123457", "2024-03-01T10:00:00.123457+00:00"),
        ("text", "2024-03-01 10:00", "2024-03-01T15:00:00+00:00"),
        ("text", "2024-03-01T10:00:00Z", "2024-03-01T10:00:00+00:00"),
        ("text", "2024-03-01T10:00:00.5+01:00", "2024-03-01T09:00:00.500000+00:00"),
        ("text", "2024-03-01", "2024-03-01T05:00:00+00:00"),
        ("text", "2024-07-01 10:00:00", "2024-07-01T14:00:00+00:00"),
    ],
)
def test_times(tmp_path: Path, settings: Settings, unit: str, said: str, time: str):
    path = written(tmp_path / "log.csv", f"id,t,who\n1,{said},ann\n")
    zone = "America/New_York" if unit == "text" else "UTC"
    mapped(settings, path, f"""
name: times
events:
  columns: {{id: id, time: t, person: who}}
  constants: {{kind: treatment}}
  time: {{unit: {unit}, zone: {zone}}}
""")  # fmt: skip
    assert landed_rows(settings)[0]["time"].isoformat() == time


@pytest.mark.parametrize("said", ["", "soon", "1e300", "-1e300", "nan", "inf", "9" * 40])
def test_numbers_that_are_no_time_go_to_quarantine(tmp_path: Path, settings: Settings, said: str):
    path = written(tmp_path / "log.csv", f"id,t,who\n1,{said},ann\n2,1709287200,ann\n")
    how = "name: n\nevents:\n  columns: {id: id, time: t, person: who}\n  constants: {kind: treatment}\n  time: {unit: s}\n"
    landed = mapped(settings, path, how)
    assert (landed.landed, landed.quarantined) == (1, 1)
    assert list(landed.reasons) == ["time is missing" if said == "" else "time is not a time"]


def test_json_lines_with_objects_inside(tmp_path: Path, settings: Settings):
    path = written(
        tmp_path / "log.jsonl",
        '{"event": {"id": "e1", "at": 1709287200}, "user id": "ann", "type": "pv", "sku": 7}\n'
        '{"event": {"id": "e2", "at": 1709287201}, "user id": "ann", "type": "q", "text": "milk\\nand tea"}\n'
        "not json\n",
    )
    landed = mapped(settings, path, """
name: stream
events:
  columns: {id: event.id, time: event.at, person: user id, kind: type, item: sku, query: text}
  kinds: {pv: view, q: search}
  time: {unit: s}
""")  # fmt: skip
    assert (landed.landed, landed.reasons) == (2, {"line is not a JSON object": 1})
    assert [(r["id"], r["kind"], r["item"], r["query"]) for r in landed_rows(settings)] == [
        ("e1", "view", "7", None),
        ("e2", "search", None, "milk\nand tea"),
    ]


def test_parquet_in_several_files_with_items_and_people(tmp_path: Path, settings: Settings):
    folder = tmp_path / "export"
    for n in (1, 2):
        parquet(
            folder / f"log-{n}.parquet",
            key=[n],
            at=[datetime(2024, 3, n, tzinfo=UTC)],
            who=[1],
            clicked=[n == 1],
            doc=[5],
        )
    written(folder / "goods.csv", "sku,name\n5,Milk\n")
    written(folder / "people.csv", "who,land\n1,DE\n")
    landed = mapped(settings, folder, """
name: export
events:
  files: log-*.parquet
  columns: {id: key, time: at, person: who, kind: clicked, item: doc}
  kinds: {"true": click, "false": impression}
items:
  files: goods.csv
  columns: {id: sku, title: name}
people:
  files: people.csv
  columns: {id: who, country: land}
""")  # fmt: skip
    assert (landed.rows_in, landed.items, landed.people) == (2, 1, 1)
    assert [r["kind"] for r in landed_rows(settings)] == ["click", "impression"]
    assert table_rows(settings, "people")[0]["id"] == landed_rows(settings)[0]["person"]


@pytest.mark.parametrize(
    ("encoding", "name"), [("latin-1", "latin-1"), ("utf-16", "utf-16"), ("utf-8-sig", "utf-8")]
)
def test_encodings(tmp_path: Path, settings: Settings, encoding: str, name: str):
    path = written(tmp_path / "log.csv", "id,t,wer\n1,2024-03-01,Zoë\n", encoding)
    columns = "columns: {id: id, time: t, person: wer, channel: wer}\n  constants: {kind: treatment}"
    how = f"name: e\nevents:\n  encoding: {name}\n  {columns}\n"
    mapped(settings, path, how)
    assert [row["channel"] for row in landed_rows(settings)] == ["Zoë"]


def test_the_mapping_is_part_of_what_was_imported(tmp_path: Path, settings: Settings):
    path = written(tmp_path / "log.csv", "id,t,who\n1,2024-03-01,ann\n")
    how = "name: n\nevents:\n  columns: {id: id, time: t, person: who}\n  constants: {kind: %s, item: x}\n"
    first = mapped(settings, path, how % "view")
    again = mapped(settings, path, "# a remark\n" + how % "view")
    other = mapped(settings, path, how % "click")
    assert (first.already, again.already, other.already) == (False, True, False)
    assert (other.landed, other.duplicates) == (0, 1)


CATALOGUE = [
    ("1", 'TV 32" flat', "plain"),
    ("2", 'disk 5.25" \\ floppy', "two\nlines"),
    ("3", "ends with \\", 'all "of", it'),
    ("4", "plain", "plain"),
]


def backslashed(rows: list[tuple[str, ...]]) -> str:
    cells = [['"' + c.replace("\\", "\\\\").replace('"', '\\"') + '"' for c in row] for row in rows]
    return "\n".join(["upc,name,text", *(",".join(row) for row in cells), ""])


def test_backslash_escapes_lose_no_row(tmp_path: Path, settings: Settings):
    path = written(tmp_path / "products.csv", backslashed(CATALOGUE))
    how = "name: catalogue\nitems:\n  columns: {id: upc, title: name, text: text}\n"
    with pytest.raises(ContractError, match=r"quotes are escaped by a backslash; say escape"):
        mapped(settings, path, how)
    landed = mapped(settings, path, how.replace("items:", "items:\n  escape: '\\'"))
    assert landed.items == 4
    assert [(r["id"], r["title"], r["text"]) for r in table_rows(settings, "items")] == CATALOGUE


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("name: x\n", ["maps nothing"]),
        ("just text", ["valid dictionary"]),
        ("name: [", ["is not YAML"]),
        ("name: x\nevents: {columns: {id: a, when: t}, unknown: 1}\n", ["events.unknown: Extra inputs"]),
        (
            "name: x\nevents: {columns: {id: a, when: t}}\n",
            ["events has no column when", "events needs time, person, kind"],
        ),
        ("name: x\nitems: {columns: {title: a}}\n", ["items needs id"]),
        ("name: x\nevents: {columns: {id: a}, kinds: {a: buy}}\n", ["buy: no kind of event"]),
        ("name: x\nevents: {columns: {id: a}, time: {zone: Mars/Base}}\n", ["'Mars/Base' is no time zone"]),
        ("name: x\nevents: {separator: '--'}\n", ["at most 1 character"]),
    ],
)
def test_faults_of_a_mapping_are_named(tmp_path: Path, mapping: str, says: list[str]):
    with pytest.raises(ContractError) as caught:
        read_mapping(written(tmp_path / "m.yaml", mapping))
    for part in says:
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "columns", "says"),
    [
        (None, "{id: a, time: b, person: zz}", "log.csv has no column|lacks the column"),
        ("none-*.csv", "{id: a, time: b, person: a}", "holds no none-"),
    ],
)
def test_a_mapping_that_does_not_fit_its_files_is_refused(
    tmp_path: Path, settings: Settings, files: Any, columns: str, says: str
):
    path = written(tmp_path / "log.csv", "a,b\n1,2024-03-01\n")
    line = f"  files: {files}\n" if files else ""
    with pytest.raises(ContractError, match=says):
        mapped(
            settings,
            path,
            f"name: x\nevents:\n{line}  columns: {columns}\n  constants: {{kind: treatment}}\n",
        )


def test_mapped_without_a_mapping_or_with_one_that_is_not_there(tmp_path: Path):
    path = written(tmp_path / "log.csv", "a,b\n")
    with pytest.raises(ContractError, match="needs a mapping file"):
        open_source("mapped", path)
    with pytest.raises(ContractError, match="there is no mapping"):
        open_source("mapped", path, mapping=tmp_path / "m.yaml")

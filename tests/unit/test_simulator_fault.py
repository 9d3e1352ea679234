"""Planted bad data: each fault is in the files exactly where the truth says, and nothing else has changed."""

import duckdb
import pytest

from counterfoil.errors import InputError
from counterfoil.simulator import FAULTS, ShopConfig, Truth, simulate

SIZE = {"seed": 5, "people": 200, "items": 300, "days": 60, "events": 60_000}
END = "TIMESTAMPTZ '2025-03-02 00:00:00+00'"

# What must hold of the spoiled rows `n` (as they are in the files) beside the true ones `o`; both with the day as d.
SPOILED = {
    "altered-duplicate": "n.price IN (o.price, o.price + 1)",
    "missing-person": "n.person IS NULL",
    "missing-time": "n.time IS NULL",
    "missing-kind": "n.kind IS NULL",
    "missing-item": "n.item IS NULL AND o.item IS NOT NULL",
    "missing-query": "n.query IS NULL AND o.kind = 'search'",
    "empty-person": "n.person = ''",
    "wrong-kind": "n.kind = 'buy'",
    "negative-price": "n.price = -o.price AND n.price < 0",
    "infinite-price": "n.price = 'inf'::DOUBLE",
    "nan-price": "isnan(n.price)",
    "huge-price": "n.price = 1e9",
    "huge-quantity": "n.quantity = 1e9",
    "zero-position": "n.position = 0 AND o.position > 0",
    "negative-dwell": "n.dwell_ms = -5",
    "long-query": "length(n.query) = 5000",
    "unknown-item": "starts_with(n.item, 'unknown-')",
    "swapped-columns": "n.item = o.person AND n.person = o.item",
    "future-time": f"n.time >= {END} + INTERVAL 30 DAY",
    "far-future": "n.time = TIMESTAMPTZ '2150-01-01 00:00:00+00'",
    "ancient-time": "n.time = TIMESTAMPTZ '1970-01-01 00:00:00+00'",
    "null-burst": "n.price IS NULL AND o.price IS NOT NULL",
    "price-in-cents": "abs(n.price - 100 * o.price) < 1e-9 * n.price",
    "one-item": "n.item = (SELECT any_value(item) FROM new JOIN bad USING (id) WHERE fault = 'one-item')",
    "late-events": "n.time = o.time",
    "clock-skew": "n.time = o.time + INTERVAL 9 HOUR",
}
ADDED, COPIED, REMOVED = {"volume-spike", "bot"}, {"duplicate", "altered-duplicate"}, {"outage"}


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """The same shop without and with every fault: tables `old`, `new` and `bad`."""
    folder = tmp_path_factory.mktemp("faults")
    clean = simulate(ShopConfig(**SIZE), folder / "clean")
    spoiled = simulate(ShopConfig(**SIZE, faults=tuple(FAULTS)), folder / "spoiled")
    base = duckdb.connect()
    base.execute("SET TimeZone = 'UTC'; SET threads = 1")
    for name, shop in (("old", clean), ("new", spoiled)):
        base.execute(
            f"CREATE TABLE {name} AS SELECT *, datediff('day', TIMESTAMPTZ '2025-01-01 00:00:00+00', time) d, "
            f"row_number() OVER () AS place FROM '{shop.folder}/events/*.parquet'"
        )
    base.execute(f"CREATE TABLE bad AS SELECT fault, id FROM '{spoiled.folder}/truth/bad_events.parquet'")
    return base, Truth.load(spoiled.folder)


def number(base, sql: str) -> int:
    return base.execute(sql).fetchall()[0][0]


def of(base, name: str) -> str:
    return f"(SELECT id FROM bad WHERE fault = '{name}')"


def test_every_fault_is_in_the_truth(shops):
    base, truth = shops
    assert {fault.name for fault in truth.faults} == set(FAULTS)
    assert len(FAULTS) >= 25
    for fault in truth.faults:
        assert number(base, f"SELECT count(*) FROM bad WHERE fault = '{fault.name}'") == len(fault.ids) > 0
        if not fault.whole_day:
            assert len(fault.ids) == 20
    assert number(base, "SELECT count(*) FROM bad") == number(base, "SELECT count(DISTINCT id) FROM bad")


def test_nothing_changes_but_what_the_truth_names(shops):
    base, _ = shops
    columns = (
        "id, time, person, kind, session, item, query, position, dwell_ms, quantity, price, channel, receipt"
    )
    for one, other in (("old", "new"), ("new", "old")):
        changed = f"SELECT {columns} FROM {one} EXCEPT ALL SELECT {columns} FROM {other}"
        assert number(base, f"SELECT count(*) FROM ({changed}) WHERE id NOT IN (SELECT id FROM bad)") == 0


@pytest.mark.parametrize("name", sorted(set(FAULTS) - ADDED - COPIED - REMOVED - {"late-events"}))
def test_spoiled_events_differ_from_the_true_ones_in_the_named_way(shops, name):
    base, truth = shops
    ids = next(fault.ids for fault in truth.faults if fault.name == name)
    day = next(fault.day for fault in truth.faults if fault.name == name)
    pairs = f"FROM new n JOIN old o USING (id) WHERE id IN {of(base, name)} AND o.d = {day}"
    assert number(base, f"SELECT count(*) {pairs}") == len(ids)
    assert number(base, f"SELECT count(*) {pairs} AND ({SPOILED[name]})") == len(ids)


@pytest.mark.parametrize("name", sorted(COPIED))
def test_copies_come_once_more(shops, name):
    base, _ = shops
    copies = (
        f"SELECT id, count(*) n, count(DISTINCT price) p FROM new WHERE id IN {of(base, name)} GROUP BY id"
    )
    assert number(base, f"SELECT count(*) FROM ({copies}) WHERE n != 2") == 0
    differing = number(base, f"SELECT count(*) FROM ({copies}) WHERE p = 2")
    assert differing == (20 if name == "altered-duplicate" else 0)


def test_a_spike_multiplies_its_day(shops):
    base, truth = shops
    fault = next(fault for fault in truth.faults if fault.name == "volume-spike")
    before = number(base, f"SELECT count(*) FROM old WHERE d = {fault.day}")
    assert len(fault.ids) == 4 * before
    added = f"SELECT count(*) FROM new WHERE d = {fault.day} AND id IN {of(base, fault.name)}"
    assert number(base, added) == 4 * before
    assert number(base, f"SELECT count(*) FROM old WHERE id IN {of(base, fault.name)}") == 0


def test_a_bot_is_one_person_in_one_session(shops):
    base, truth = shops
    fault = next(fault for fault in truth.faults if fault.name == "bot")
    rows = f"FROM new WHERE id IN {of(base, 'bot')} AND d = {fault.day}"
    assert number(base, f"SELECT count(DISTINCT person || session) {rows}") == 1
    assert number(base, f"SELECT count(*) {rows}") == len(fault.ids) >= 50


def test_an_outage_loses_what_came_after_ten(shops):
    base, truth = shops
    fault = next(fault for fault in truth.faults if fault.name == "outage")
    assert fault.removed
    assert number(base, f"SELECT count(*) FROM new WHERE id IN {of(base, 'outage')}") == 0
    lost = f"FROM old WHERE d = {fault.day} AND hour(time) >= 10"
    assert number(base, f"SELECT count(*) {lost}") == len(fault.ids)
    assert number(base, f"SELECT count(*) FROM new WHERE d = {fault.day} AND hour(time) >= 10") == 0


def test_late_events_come_last_and_unchanged(shops):
    base, truth = shops
    fault = next(fault for fault in truth.faults if fault.name == "late-events")
    late = f"id IN {of(base, 'late-events')}"
    assert number(base, f"SELECT min(place) FROM new WHERE {late}") > number(
        base, f"SELECT max(place) FROM new WHERE NOT {late}"
    )
    assert number(base, f"SELECT count(*) FROM new WHERE {late} AND d = {fault.day}") == len(fault.ids)
    share = len(fault.ids) / number(base, f"SELECT count(*) FROM old WHERE d = {fault.day}")
    assert 0.2 < share < 0.4


def test_whole_day_faults_stand_alone_on_their_day(shops):
    _, truth = shops
    whole = [fault.day for fault in truth.faults if fault.whole_day]
    rows = {fault.day for fault in truth.faults if not fault.whole_day}
    assert len(set(whole)) == len(whole) == 8 and not rows & set(whole)


def test_a_fault_day_puts_faults_on_one_day_and_row_faults_never_share_a_row(tmp_path):
    names = ("negative-price", "missing-person", "wrong-kind", "duplicate")
    done = simulate(ShopConfig(**SIZE, faults=names, fault_day=59, fault_rows=7), tmp_path / "shop")
    assert [(fault.name, fault.day, len(fault.ids)) for fault in done.faults] == [
        (name, 59, 7) for name in names
    ]
    assert len({event for fault in done.faults for event in fault.ids}) == 28
    assert Truth.load(tmp_path / "shop").faults == done.faults


def test_a_fault_alone_strikes_the_same_whatever_else_is_asked(tmp_path):
    alone = simulate(ShopConfig(**SIZE, faults=("nan-price",), fault_day=30), tmp_path / "one").faults[0]
    beside = simulate(
        ShopConfig(**SIZE, faults=("nan-price", "wrong-kind"), fault_day=30), tmp_path / "two"
    ).faults[0]
    assert alone == beside


def test_faults_that_cannot_be_planted_are_refused(tmp_path):
    with pytest.raises(InputError, match="stand on it alone"):
        ShopConfig(**SIZE, faults=("outage", "nan-price"), fault_day=3)
    with pytest.raises(InputError, match="need more than 4 days"):
        ShopConfig(days=4, faults=("outage", "bot", "one-item"))
    few = ShopConfig(people=10, items=20, days=30, events=100, faults=("missing-query",), fault_day=3)
    with pytest.raises(InputError, match="missing-query found no event to spoil"):
        simulate(few, tmp_path / "shop")
    assert not (tmp_path / "shop").exists()

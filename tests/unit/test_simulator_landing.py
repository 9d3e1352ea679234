"""What the simulator spoils meets what the landing finds: every planted row by its id, and no other."""

import orjson
import pytest

from counterfoil.importers import open_source
from counterfoil.landing import land, quarantine, quarantined_rows
from counterfoil.settings import Settings
from counterfoil.simulator import FAULTS, ShopConfig, simulate

SIZE = {"seed": 9, "people": 150, "items": 200, "days": 20, "events": 12_000, "fault_rows": 5}


def landed(tmp_path, faults: tuple[str, ...]):
    shop = simulate(ShopConfig(**SIZE, faults=faults), tmp_path / "shop")
    settings = Settings(home=tmp_path / "home")
    return shop, settings, land(open_source("contract", shop.folder), settings)


def test_a_clean_shop_lands_whole(tmp_path):
    shop, settings, done = landed(tmp_path, ())
    assert (done.rows_in, done.landed, done.duplicates, done.quarantined) == (shop.events, shop.events, 0, 0)
    assert (done.items, done.people, len(done.days)) == (200, 150, 20)
    assert quarantine(settings) == []


@pytest.mark.parametrize("met_by", ["contract", "duplicates", "gate", "nobody"])
def test_planted_rows_are_met_where_the_truth_says(tmp_path, met_by):
    names = tuple(name for name, kind in FAULTS.items() if kind.met_by == met_by)
    shop, settings, done = landed(tmp_path, names)
    planted = {event for fault in shop.faults for event in fault.ids}
    assert done.landed + done.duplicates + done.quarantined == done.rows_in == shop.events
    assert done.duplicates == (len(planted) if met_by == "duplicates" else 0)
    assert done.quarantined == (len(planted) if met_by == "contract" else 0)
    rows = quarantined_rows(settings, done.batch)["raw"].to_pylist() if done.quarantined else []
    assert {orjson.loads(raw)["id"] for raw in rows} == (planted if met_by == "contract" else set())

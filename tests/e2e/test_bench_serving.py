"""A tiny turn of `make bench-serving`: a shop of 600 items made by the product's verbs, the floor and the bento, really asked."""

import pytest

from bench.serving import answer, home, running, table
from bench.serving.answer import Effort
from bench.serving.floor import PARTS
from bench.serving.shop import Size

TINY = Size(items=600, people=120, days=16)
EFFORT = Effort(rounds=1, answers=20, warm_up=5, seconds=1.0, connections=4, loads=(0.5,), floor_rounds=1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> home.Home:
    return home.opened(TINY, tmp_path_factory.mktemp("bench"))


def test_the_bench_measures_a_bento_beside_the_floor(shop: home.Home) -> None:
    found = answer.measure(shop, EFFORT, (running.bento,))
    parts = found["floor"]["parts"]
    assert set(parts) == {*PARTS, "sum"} and all(part["p50"] > 0 for part in parts.values())
    assert found["floor"]["signals"] == 40 and found["floor"]["trees"] == 300
    assert sum(parts[part]["p50"] for part in PARTS) == pytest.approx(found["floor"]["sum_ms"], rel=0.5)
    bento = found["bento"]
    assert (bento["asked"], bento["failed"], bento["empty"], bento["degraded"]) == (20, 0, 0, 0)
    assert bento["ratio"] == pytest.approx(bento["ms"]["p50"] / found["floor"]["sum_ms"], rel=0.01)
    assert bento["most"]["answered"] > 10 and bento["loads"]["0.5"]["failed"] == 0
    assert found["receipt"]["receipts"] >= 25 and found["receipt"]["bytes"] > 500
    assert "answer, p50 of the floor's sum" in table.of("answer", found)


def test_a_home_is_made_once(shop: home.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.subprocess, "run", lambda *_, **__: pytest.fail("it was made again"))
    assert home.opened(TINY, shop.folder.parent).made == shop.made
    assert home.recipe_digest(TINY) != home.recipe_digest(Size(items=600, people=120, days=16, seed=1))

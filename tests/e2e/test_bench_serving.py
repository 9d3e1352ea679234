"""A tiny turn of `make bench-serving`: a shop of 600 items made by the product's verbs, the floor, and services really asked."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from bench.serving import answer, bare, floor, home, load, running, switch, table
from bench.serving.answer import Effort
from bench.serving.floor import PARTS
from bench.serving.running import Service
from bench.serving.shop import Size

TINY = Size(items=600, people=120, days=16)
EFFORT = Effort(
    rounds=1,
    takes=2,
    answers=10,
    warm_up=2,
    turns=1,
    halves=2,
    seconds=1.0,
    connections=4,
    loads=(0.5,),
    floor_rounds=1,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> home.Home:
    return home.opened(TINY, tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def parts(shop: home.Home) -> floor.Parts:
    return floor.Parts(shop.folder)


@contextmanager
def serving(app: object) -> Iterator[int]:
    port = running.free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))  # type: ignore[arg-type]
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield port
    server.should_exit = True
    thread.join(10)


def test_the_floor_does_the_work_of_the_bento(parts: floor.Parts) -> None:
    found = floor.measure(parts, 1)
    assert set(found["parts"]) == {*PARTS, "sum"} and all(one["p50"] > 0 for one in found["parts"].values())
    assert (found["items"], found["signals"], found["trees"]) == (600, 40, 300)
    assert found["recall@200"]["exact"] == 1.0 and found["recall@200"]["coarse"] == 1.0
    item_L = parts.histories[0]
    assert len(item_L) == 50
    parts.way = "exact"
    state_D = parts.encode(item_L)
    with parts.torch.inference_mode():
        whole_D = parts.network(parts.embedding_ID[parts.torch.from_numpy(item_L)][None])[0, -1].numpy()
    assert state_D == pytest.approx(whole_D, abs=1e-4)
    item_N = parts.retrieve(state_D)
    item_K, score_K = parts.rerank(item_N, parts.rank(parts.gather(item_N)))
    assert len(set(item_K.tolist())) == 20 and set(item_K) <= set(item_N)
    assert score_K.max() == parts.rank(parts.gather(item_N)).max()


def test_the_bare_service_is_asked_by_the_load(shop: home.Home, parts: floor.Parts) -> None:
    rows = dict(zip(floor.names(shop.made), parts.histories, strict=True))
    with serving(bare.create(parts, rows)) as port:
        service = Service(name="fastapi", pids=(), port=port, ready_seconds=0.0)
        found = load.in_process(answer.plan(shop, service, count=30, connections=2))
    assert (found["answered"], found["failed"], found["empty"], found["degraded"]) == (30, 0, 0, 0)


def test_a_home_is_made_once(shop: home.Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home.subprocess, "run", lambda *_, **__: pytest.fail("it was made again"))
    assert home.opened(TINY, shop.folder.parent).made == shop.made
    assert home.recipe_digest(TINY) != home.recipe_digest(Size(items=600, people=120, days=16, seed=1))


@pytest.mark.slow
def test_the_bench_measures_bento_and_gateway_beside_the_floor(shop: home.Home) -> None:
    found = answer.measure(shop, EFFORT)
    ground = sum(found["floor"]["rounds_ms"]) / 2  # before the one round and after it
    for name in ("bento", running.STRICT, running.MUTED, running.KEPT, "fastapi", "gateway"):
        one = found[name]
        assert (one["asked"], one["failed"], one["empty"], one["degraded"]) == (20, 0, 0, 0), name
        assert one["ratio"] == pytest.approx(one["ms"]["p50"] / ground, rel=0.01)
    assert found["bento"]["most"]["answered"] > 10 and found["gateway"]["loads"]["0.5"]["failed"] == 0
    assert len(found["bento"]["loads"]["0.5"]["ratios"]) == 2
    assert found["receipt"]["receipts"] >= 25 and found["receipt"]["bytes"] > 500
    assert "answer, p50 of the floor's sum" in table.of("answer", found)


@pytest.mark.slow
def test_the_bench_measures_releases_and_tells_them(shop: home.Home) -> None:
    found = switch.measure(shop, requests=300, probe_seconds=0.5, bad=("empty",), good_seconds=2.0)
    assert (found["switch"]["asked"], found["switch"]["failed"]) == (300, 0)
    assert all(one["ok"] for one in found["switch"]["commands"])
    assert found["bad"]["empty"]["taken_back"] and found["good"]["failed"] == 0
    lines = table.of("switch", found)
    assert "good challenger, degraded answers" in lines and "bad challenger, empty: seconds" in lines

"""Releases while people ask: from shadow to everybody without a failed request; what is bad is back within ten seconds."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from counterfoil import settings
from counterfoil.processes import Processes
from counterfoil.types import Candidate, Decision
from flows import machine, steer
from flows.place import Place
from flows.quarantine import end, in_force
from tests.faults.rolled import CASE, faulty, release, traffic
from tests.loop_shop import place_of
from tests.unit.test_processes import free_port

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def forgiven(shop: "Shop") -> None:
    """Lift what an earlier test left in quarantine: every bad bento here has the same model in it."""
    for one in in_force(shop.place):
        end(shop.place, one.id, "the next test", "test")


@dataclass
class Shop:
    """A home that is supervised, with a gateway in front."""

    place: Place
    url: str

    def stage(self) -> tuple[str, float] | None:
        """Return the stage and the share of the challenger."""
        now = self.place.catalog.challenger("small")
        return None if now is None else (now.stage, now.share)


@contextmanager
def supervised(home: Path, **env: str) -> Iterator[Shop]:
    """Run a supervisor, and all that it starts, on a home."""
    place = place_of(home, service_port=free_port(), gateway_port=free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steer, "use_case", lambda name: {"small": CASE}[name])
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("COUNTERFOIL_SERVICE_PORT", str(place.settings.service_port))
        patch.setenv("COUNTERFOIL_GATEWAY_PORT", str(place.settings.gateway_port))
        command = [sys.executable, str(ROOT / "tests/faults/supervised.py"), str(home)]
        env = {**settings.of_children(place.settings), **env}
        Processes(home).start("supervisor", command, url="http://127.0.0.1", detail="small", env=env)
        machine.await_routes(place, "small")
        yield Shop(place, Processes(home).running()["gateway"].url)
        machine.down(place)
    place.catalog.engine.dispose()


@pytest.fixture(scope="module")
def shop(turned: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with supervised(shutil.copytree(turned, tmp_path_factory.mktemp("traffic") / "home")) as running:
        yield running


def until(said: Callable[[], bool], seconds: float) -> float:
    """Wait until it is so; return how many seconds that took."""
    began = time.monotonic()
    while not said():
        assert time.monotonic() - began < seconds, "it did not come to that"
        time.sleep(0.05)
    return time.monotonic() - began


def test_from_shadow_to_everybody_without_a_failed_request(shop: Shop) -> None:
    first = shop.place.catalog.champion("small")
    assert first is not None
    loser = next(one for one in shop.place.catalog.find(Candidate, "small") if one.family == "popularity")
    with traffic(shop.url, 50) as seen:
        steer.promote(shop.place, loser.id, "Ada", "something else")
        assert shop.stage() == ("shadow", 0.0)
        until(lambda: shop.stage() == ("canary", 0.2), 60)
        until(lambda: shop.place.catalog.champion("small") != first, 60)
        machine.await_routes(shop.place, "small")
        time.sleep(2)
    now = shop.place.catalog.champion("small")
    assert now is not None and seen.statuses.keys() == {200}, seen.failures[:5]
    assert seen.releases[now.id] and seen.releases[first.id]
    decision = shop.place.catalog.get(now.decision)
    assert isinstance(decision, Decision) and decision.approved_by == "monitor"
    for names in seen.answered.values():  # once somebody else's, never again the old one's
        assert names == sorted(names, key=lambda name: name != first.id)


@pytest.mark.parametrize(
    "fault", [{"errors": 0.05}, {"seconds": 0.1}, {"empty": True}], ids=["5% errors", "slow", "empty lists"]
)
def test_a_bad_canary_is_taken_back_within_ten_seconds(shop: Shop, fault: dict[str, float]) -> None:
    champion = shop.place.catalog.champion("small")
    assert champion is not None
    bad = faulty(shop.place, champion, **fault)  # type: ignore[arg-type]
    with traffic(shop.url, 100) as seen:
        time.sleep(3)
        made = release(shop.place, bad, "canary", 0.01)
        until(
            lambda: (routes := machine.routed(shop.place)) is not None and routes.challenger is not None, 60
        )
        took = until(lambda: shop.stage() is None, 30)
        until(lambda: (routes := machine.routed(shop.place)) is not None and routes.challenger is None, 10)
        time.sleep(1)
    exposed = {person for person, names in seen.answered.items() if made.id in names}
    log.info(
        "%s: back in %.1f s, %d of %d people, %s",
        fault,
        took,
        len(exposed),
        len(seen.answered),
        seen.statuses,
    )
    assert took <= 10 and len(exposed) <= 0.03 * len(seen.answered)
    assert seen.statuses.keys() == {200}, seen.failures[:5]
    assert shop.place.catalog.champion("small") == champion


def test_a_bad_champion_is_rolled_back_to_the_one_before(shop: Shop) -> None:
    before = shop.place.catalog.champion("small")
    assert before is not None
    bad = faulty(shop.place, before, errors=0.2)
    with traffic(shop.url, 100) as seen:
        time.sleep(2)
        made = release(shop.place, bad, "champion")
        until(lambda: (r := machine.routed(shop.place)) is not None and r.champion.release == made.id, 60)
        took = until(
            lambda: (r := machine.routed(shop.place)) is not None and r.champion.bento == before.tag, 30
        )
    log.info("rolled back in %.1f s, %s", took, seen.statuses)
    now = shop.place.catalog.champion("small")
    assert took <= 10 and now is not None and (now.bento, now.epoch) == (before.bento, made.epoch + 1)

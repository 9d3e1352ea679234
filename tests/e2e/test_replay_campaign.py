"""A thousand answers of nine releases, given by real service processes, made anew: at least 99.9% come out the same."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from counterfoil.processes import Processes
from counterfoil.receipts import Receipts
from counterfoil.types import Release
from flows import machine
from flows.draw import sample
from flows.place import Place
from flows.replay import replayed, summary
from flows.sealing import seal
from models.families import config_from
from tests.loop_shop import DAYS, END, START, land_shop, place_of, write_shop
from tests.replay_shop import ask, case_of, released
from tests.small_configs import small

log = logging.getLogger(__name__)
LATER = 4  # days
PEOPLE = 125
PORT = 4893
SHARE = 0.999
ASSEMBLIES: dict[str, dict] = {
    "fusion": {"members": ["repurchase", "als"], "depth": 20},
    "exposure": {"members": ["repurchase", "itemknn"], "depth": 20},
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    home = tmp_path / "home"
    monkeypatch.setenv("COUNTERFOIL_HOME", str(home))
    place = place_of(home)
    yield place
    machine.down(place)
    place.catalog.engine.dispose()


def releases(place: Place) -> Iterator[Release]:
    """Release one after another, asked in between; the last two learn from later days, which come with other features."""
    land_shop(place.settings, write_shop(place.settings.home / "first"))
    for family in ("repurchase", "itemknn", "ease", "als", "twostage"):
        yield released(place, case_of(family, small(family)), END)
    for family, config in ASSEMBLIES.items():
        yield released(place, case_of(family, config_from(family, config)), END)
    land_shop(place.settings, write_shop(place.settings.home / "later", days=range(DAYS, DAYS + LATER)))
    end = START + (END - START) * (DAYS + LATER) / DAYS
    for family, seed in (("logistic", 0), ("mlp", 1)):
        yield released(place, case_of(family, small(family), seed=seed), end)


def questions(release: Release) -> Iterator[dict]:
    """Yield what is asked of a release: known people, some with filters, and now and then somebody unknown, or nobody."""
    for person in range(PEOPLE):
        asked: dict = {
            "n": 3 + person % 12,
            "filters": {"exclude_bought": person % 3 == 0, "in_stock": person % 5 == 0},
        }
        if person % 7 == 0:
            asked["filters"] |= {"categories": ["shelf 1", "shelf 3"], "price_max": 9.5}
        if person % 25 != 24:
            asked["person"] = f"person {person}" if person % 25 != 23 else "somebody new"
        yield asked


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_answers_of_nine_releases_come_out_the_same(place: Place) -> None:
    for release in releases(place):
        at = (
            "2024-01-26T10:00:00Z"
            if release.epoch == 1 and "mlp" not in release.tag
            else "2024-01-31T10:00:00Z"
        )
        running = machine.serve(place, release, PORT)
        with httpx.Client(base_url=running.url, headers=machine.inside(place), timeout=30) as client:
            for asked in questions(release):
                ask(client, at, **asked)
        Processes(place.settings.home).stop(running.name)
    seal(place, quiet_seconds=0.0)  # half of them are read from sealed segments where services have left
    drawn = list(sample(Receipts(place.settings.receipts), 1000, 0))
    found = summary(list(replayed(place, drawn)))
    log.info("%s: %s", found["classes"], found["bentos"])
    assert found["receipts"] == 1000 and len(found["bentos"]) == 9
    assert found["share_same"] >= SHARE, found["not_same"]
    assert found["same"] + found["differs"] + found["gone"] == 1000, "what differs is classified"

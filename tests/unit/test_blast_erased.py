"""What a batch reached is found also where a person was taken out of its files in between."""

import shutil
from datetime import timedelta
from pathlib import Path

from counterfoil.landing import read_manifest
from counterfoil.landing.erase import erase
from counterfoil.pseudonym import pseudonym
from counterfoil.settings import Settings
from counterfoil.types import Dataset
from flows.blast import radius
from flows.place import place_of
from tests.loop_shop import END, small_case, turn


def test_a_batch_is_followed_through_an_erasure(turned: Path, tmp_path: Path) -> None:
    place = place_of(Settings(home=shutil.copytree(turned, tmp_path / "home")))
    [batch] = read_manifest(place.settings).batches
    before = {one.id for one in place.catalog.find(Dataset)}
    name = pseudonym("person 0", place.settings.pseudonym_key)
    assert erase(place.settings, name, (), "test")["events"] > 0
    advanced, _ = turn(place, small_case(), END)
    after = advanced.dataset.id
    assert after not in before and advanced.dataset.people == place.catalog.get(min(before)).people - 1  # type: ignore[attr-defined]
    reached = radius(place, [batch.batch]).reach.made
    assert {after, *before} <= set(reached)
    gone = radius(place, [f"person:{name}"]).reach.made
    assert before <= set(gone) and after not in gone
    assert END - timedelta(days=1) < advanced.dataset.last_time

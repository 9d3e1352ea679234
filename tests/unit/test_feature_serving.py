"""Offline equals online: what a service reads for a person is what Feast's history says of that person at that moment."""

import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterfoil.errors import InputError, UnavailableError
from counterfoil.settings import Settings
from feature_repo import offline, recent, repo
from feature_repo.build import build, partition
from feature_repo.online import OnlineFeatures, apply, materialise
from feature_repo.transforms import PAIR_FEATURES, PERSON_FEATURES, pair_features
from tests.feature_shop import at, bought, land, shop

AS_OF = at(90)
TTL = timedelta(days=35)
PEOPLE = 1200


def microseconds(moment: datetime) -> int:
    return round(moment.timestamp()) * 1_000_000


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = Settings(home=tmp_path_factory.mktemp("home"))
    events, items = shop(people=PEOPLE, items=150, days=90, seed=2)
    land(settings.landing, events, items)
    build(settings.landing, settings.features, AS_OF, history_cap=20)
    apply(settings)
    materialise(settings, AS_OF)
    return settings


@pytest.fixture(scope="module")
def online(home: Settings) -> OnlineFeatures:
    return OnlineFeatures(home)


@pytest.fixture(scope="module")
def sampled() -> list[str]:
    chosen = np.random.default_rng(9).choice(PEOPLE, 1000, replace=False)
    return [f"p{number:05d}" for number in chosen]


def test_person_features_of_a_thousand_people_are_those_of_the_history(
    home: Settings, online: OnlineFeatures, sampled: list[str]
) -> None:
    frame = offline.frames_at(home, [AS_OF], sampled, [])["person"]
    served = np.array(
        [list(online.person(person, AS_OF).features.values()) for person in sampled], np.float32
    )
    np.testing.assert_array_equal(served, frame[list(PERSON_FEATURES)].to_numpy(np.float32))
    assert np.isfinite(served[:, 0]).sum() > 900


def test_pair_features_of_a_thousand_people_are_those_of_the_history(
    home: Settings, online: OnlineFeatures, sampled: list[str]
) -> None:
    served = []
    for person in sampled:
        view = online.person(person, AS_OF)
        pairs = pair_features(
            view.history_items, view.history_times_us, view.history_quantities, microseconds(AS_OF)
        )
        served += [
            (person, item, *row) for item, row in zip(pairs.item_R, pairs.feature_RF.tolist(), strict=True)
        ]
    asked = pa.table(
        {
            "moment": pa.array([AS_OF] * len(served), pa.timestamp("us", tz="UTC")),
            "person": [row[0] for row in served],
            "item": [row[1] for row in served],
        }
    )
    frame = offline.frames_at(home, [AS_OF], [], [], asked)["pair"]
    np.testing.assert_array_equal(
        np.array([row[2:] for row in served], np.float32), frame[list(PAIR_FEATURES)].to_numpy(np.float32)
    )
    # and serving misses no pair that the history has
    everybody = offline.pairs_at(home, [AS_OF], per_person=1000)
    wanted = everybody.filter(pa.compute.is_in(everybody["person"], pa.array(sampled)))
    assert sorted(row[:2] for row in served) == sorted(
        zip(*(wanted[key].to_pylist() for key in ("person", "item")), strict=True)
    )


def test_the_history_is_what_landed_oldest_first(
    home: Settings, online: OnlineFeatures, sampled: list[str]
) -> None:
    with duckdb.connect() as con:
        landed = con.execute(
            f"""SELECT person, list(item ORDER BY t, item)[-20:], list(t ORDER BY t, item)[-20:]
            FROM (SELECT person, item, epoch_us(time) AS t FROM read_parquet('{home.landing}/events/*/*.parquet')
                WHERE coalesce(quantity, 1) > 0) GROUP BY person"""
        ).fetchall()
    expected = {person: (items, times) for person, items, times in landed}
    for person in sampled:
        view = online.person(person, AS_OF)
        items, times = expected.get(person, ([], []))
        assert (list(view.history_items), view.history_times_us.tolist()) == (items, times)
        assert len(view.history_quantities) == len(items)


def test_affinities_are_shares_by_name(online: OnlineFeatures, sampled: list[str]) -> None:
    view = online.person(next(p for p in sampled if online.person(p, AS_OF).category_affinity), AS_OF)
    assert all(name.startswith("shelf ") and 0 < share <= 1 for name, share in view.category_affinity.items())
    assert max(view.category_affinity.values()) == view.features["top_category_share"]


def test_somebody_unknown_has_an_empty_view(online: OnlineFeatures) -> None:
    view = online.person("nobody", AS_OF)
    assert (len(view.history_items), view.category_affinity, view.event_time, view.expired) == (
        0,
        {},
        None,
        False,
    )
    assert list(view.features) == list(PERSON_FEATURES)
    assert np.isnan(list(view.features.values())).all()


def test_the_time_to_live_is_kept_at_the_read(online: OnlineFeatures, home: Settings) -> None:
    person = pq.read_table(partition(home.features, "person", AS_OF))["person"][0].as_py()
    last = online.person(person, AS_OF + TTL)
    assert (last.expired, last.event_time) == (False, AS_OF)
    assert last.features["baskets"] >= 1
    over = online.person(person, AS_OF + TTL + timedelta(microseconds=1))
    assert (over.expired, over.event_time, len(over.history_items)) == (True, AS_OF, 0)
    assert np.isnan(list(over.features.values())).all()


def test_a_question_about_the_past_is_not_answered_from_the_future(
    online: OnlineFeatures, home: Settings
) -> None:
    person = pq.read_table(partition(home.features, "person", AS_OF))["person"][0].as_py()
    view = online.person(person, AS_OF - timedelta(microseconds=1))
    assert (view.expired, view.event_time, len(view.history_items)) == (False, AS_OF, 0)


def test_one_person_is_read_within_three_milliseconds(online: OnlineFeatures, sampled: list[str]) -> None:
    seconds = []
    for person in sampled[:300]:
        start = time.perf_counter()
        online.person(person, AS_OF)
        seconds.append(time.perf_counter() - start)
    assert np.median(seconds) < 0.003


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    """A home with one person and two moments built, neither written."""
    settings = Settings(home=tmp_path)
    land(settings.landing, [bought(at(1), "ann", "ale"), bought(at(20), "ann", "ale")], [{"id": "ale"}])
    build(settings.landing, settings.features, at(10))
    build(settings.landing, settings.features, at(30))
    apply(settings)
    return settings


def test_an_older_moment_never_overwrites_a_newer_one(small: Settings) -> None:
    assert materialise(small, at(30)) == 1
    assert materialise(small, at(10)) == 1
    view = OnlineFeatures(small).person("ann", at(30))
    assert (view.event_time, view.features["baskets"]) == (at(30), 2.0)


def test_late_events_reach_the_online_store(small: Settings) -> None:
    materialise(small, at(30))
    online = OnlineFeatures(small)
    land(small.landing, [bought(at(5), "ann", "bun")], [{"id": "ale"}])
    assert build(small.landing, small.features, at(30)).fresh
    materialise(small, at(30))
    view = online.person("ann", at(30))
    assert (view.event_time, list(view.history_items)) == (at(30), ["ale", "bun", "ale"])


def test_a_moment_that_was_not_built_cannot_be_written(small: Settings) -> None:
    with pytest.raises(InputError, match="no features were built for 2024-02-10T000000Z"):
        materialise(small, at(40))


def test_a_store_that_is_gone_is_said_and_found_again(small: Settings) -> None:
    materialise(small, at(30))
    online = OnlineFeatures(small)
    path = small.features / "online.sqlite"
    aside = path.parent / "aside"
    aside.mkdir()
    move(path.parent, aside)
    with pytest.raises(UnavailableError, match="online store does not answer"):
        online.person("ann", at(30))
    assert not path.exists()  # a read makes no empty store
    move(aside, path.parent)
    assert online.person("ann", at(30)).features["baskets"] == 2.0


def move(source: Path, target: Path) -> None:
    """Move the online store with its log."""
    for piece in source.glob("online.sqlite*"):
        piece.rename(target / piece.name)


@pytest.mark.parametrize("broken", [b"", b"not a database at all" * 100])
def test_a_store_that_is_broken_is_said(small: Settings, broken: bytes) -> None:
    materialise(small, at(30))
    online = OnlineFeatures(small)
    path = small.features / "online.sqlite"
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(broken)
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    fresh.replace(path)
    with pytest.raises(UnavailableError, match="materialise features again"):
        online.person("ann", at(30))


def test_a_home_without_features_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"the feature registry in .* does not answer"):
        OnlineFeatures(Settings(home=tmp_path))


def test_serving_goes_on_while_features_are_written(
    home: Settings, online: OnlineFeatures, sampled: list[str]
) -> None:
    """Readers in two threads meet no error and no mixture of rows while everybody is written four times."""
    build(home.landing, home.features, at(91), history_cap=20)
    stop, faults, reads = threading.Event(), [], []

    def read(people: list[str]) -> None:
        while not stop.is_set():
            for person in people:
                try:
                    view = online.person(person, at(91))
                except UnavailableError as fault:
                    faults.append(fault)
                    continue
                if view.event_time is None:
                    continue
                last_us = view.history_times_us[-1]
                recency = np.float32((microseconds(view.event_time) - last_us) / 86_400_000_000)
                reads.append((view.event_time, recency == np.float32(view.features["recency_days"])))

    readers = [threading.Thread(target=read, args=(sampled[part::2],)) for part in (0, 1)]
    for reader in readers:
        reader.start()
    for moment in (at(91), AS_OF, at(91)):
        materialise(home, moment)
    stop.set()
    for reader in readers:
        reader.join()
    assert not faults
    assert len(reads) > 200
    assert all(whole for _, whole in reads)
    assert {moment for moment, _ in reads} == {AS_OF, at(91)}


def test_what_redis_holds_goes_once_no_view_needs_it(tmp_path: Path) -> None:
    """Its views share a key, which lasts from the last write on as long as the view that lasts longest."""
    for days, lasts in ((1, recent.DAYS), (60, 60)):
        settings = Settings(home=tmp_path, online_store_url="redis://127.0.0.1:1", feature_ttl_days=days)
        assert repo.open_store(settings).config.online_store.key_ttl_seconds == lasts * 86_400


def test_a_redis_that_takes_nothing_is_one_clear_error(home: Settings) -> None:
    gone = home.model_copy(update={"online_store_url": "redis://127.0.0.1:1,socket_connect_timeout=0.1"})
    with pytest.raises(UnavailableError, match=r"the online store takes no rows .*mend it, then run again"):
        materialise(gone, AS_OF)

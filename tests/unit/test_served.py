"""What served at a moment: held against the log of the traffic itself, and as it was known at other moments."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from counterfoil.catalog import Catalog, tables
from counterfoil.catalog.served import served
from counterfoil.types import Release

START = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    yield opened
    opened.engine.dispose()


def released(
    catalog: Catalog, epoch: int, since: datetime, use_case: str = "shop", **changes: object
) -> Release:
    release = Release(
        use_case=use_case,
        decision="decision-0000000000000000",
        bento="bento-0000000000000000",
        tag=f"{use_case}:{epoch}",
        epoch=epoch,
        valid_from=since,
        **changes,
    )
    catalog.record("release", f"{use_case} {epoch}", [release], [], [], 0.0)
    return release


def told_at(catalog: Catalog, release: Release, moment: datetime) -> None:
    """Let the catalog have been told of a release at another moment than now."""
    with catalog.engine.begin() as connection:
        row = tables.NOUN.c.id == release.id
        connection.execute(update(tables.NOUN).where(row).values(recorded_at=moment))


def test_a_thousand_moments_say_what_the_traffic_says(catalog: Catalog) -> None:
    chance = random.Random(0)
    log: list[tuple[datetime, str, str]] = []  # when an answer left, of which use case, by which release
    for use_case in ("shop", "search"):
        since = START
        for epoch in range(1, 13):
            release = released(catalog, epoch, since, use_case)
            until = since + timedelta(seconds=chance.randrange(1, 100_000))
            span = (until - since).total_seconds()
            moments = [since, until - timedelta(microseconds=1)]
            moments += [since + timedelta(seconds=chance.random() * span) for _ in range(40)]
            log += [(moment, use_case, release.id) for moment in moments]
            since = until
    assert len(log) > 1000
    for moment, use_case, name in log:
        assert [one.release.id for one in served(catalog, moment, use_case)] == [name]
    assert served(catalog, START - timedelta(seconds=1)) == []
    assert {one.release.use_case for one in served(catalog, START)} == {"shop", "search"}


def test_what_was_known_then_is_not_what_is_known_now(catalog: Catalog) -> None:
    """The second release began at noon, and the catalog was told of it at four."""
    noon, four = START + timedelta(hours=12), START + timedelta(hours=16)
    first, second = released(catalog, 1, START), released(catalog, 2, noon)
    told_at(catalog, first, START)
    told_at(catalog, second, four)
    at = noon + timedelta(hours=1)
    [now] = served(catalog, at)
    [then] = served(catalog, at, known_at=noon + timedelta(hours=2))
    assert (now.release.id, now.since, now.until, now.recorded_at) == (second.id, noon, None, four)
    assert (then.release.id, then.until) == (first.id, None)
    assert served(catalog, noon - timedelta(hours=1))[0].until == noon
    assert served(catalog, at, known_at=START - timedelta(hours=1)) == []


def test_a_canary_serves_beside_the_champion_for_its_time(catalog: Catalog) -> None:
    noon = START + timedelta(hours=12)
    champion = released(catalog, 1, START)
    canary = released(catalog, 2, noon, stage="canary", share=0.1, valid_to=noon + timedelta(hours=1))
    found = served(catalog, noon + timedelta(minutes=5))
    assert {(one.release.id, one.release.share) for one in found} == {(champion.id, 1.0), (canary.id, 0.1)}
    assert [one.release.id for one in served(catalog, noon + timedelta(hours=2))] == [champion.id]

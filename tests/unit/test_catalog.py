"""The catalog: what goes in comes out, once; one champion at every moment, whoever races; tables as the migrations make them."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from counterfoil import canonical
from counterfoil.catalog import Catalog, tables
from counterfoil.catalog.lineage import backwards
from counterfoil.catalog.migrate import HEAD
from counterfoil.errors import ConflictError, IntegrityError, UnavailableError, UnknownError
from counterfoil.store import Stored
from counterfoil.types import (
    Bento,
    Noun,
    Release,
    Verdict,
)
from tests.some_nouns import bento, verdict

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    yield opened
    opened.engine.dispose()


def release(epoch: int, **changes: Any) -> Release:
    values: dict[str, Any] = {
        "use_case": "shop",
        "decision": f"decision-{epoch:016d}",
        "bento": bento().id,
        "tag": bento().tag,
        "epoch": epoch,
        "valid_from": NOON + timedelta(days=epoch),
    }
    return Release(**{**values, **changes})


def record(
    catalog: Catalog,
    *nouns: Noun,
    key: str | None = None,
    parents: tuple = (),
    stored: tuple[Stored, ...] = (),
) -> None:
    """Record as the seam would."""
    catalog.record("verb", key or "-".join(noun.id for noun in nouns), nouns, parents, stored, 0.5)


# recording


def test_recording_twice_is_recording_once(catalog: Catalog) -> None:
    noun = verdict()
    record(catalog, noun)
    record(catalog, noun)
    assert catalog.find(Verdict) == [noun]
    assert catalog.done(noun.id) == [noun.id]


def test_nothing_of_a_failed_record_stays(catalog: Catalog) -> None:
    orphan = verdict("orphan")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        record(catalog, orphan, parents=(("dataset", "dataset-that-is-not-there"),))
    assert catalog.find(Verdict) == [] and catalog.done(orphan.id) is None


def test_done_again_names_what_was_made_last(catalog: Catalog) -> None:
    """Bytes were lost, and the verb gave something else the second time: that is what is remembered."""
    record(catalog, verdict("first"), key="k")
    record(catalog, verdict("second"), key="k")
    assert catalog.done("k") == [verdict("second").id]


def test_edges_go_both_ways(catalog: Catalog) -> None:
    grandparent, parent, child = verdict("a"), verdict("b"), verdict("c")
    record(catalog, grandparent)
    record(catalog, parent, parents=(("verdict", grandparent.id),))
    record(catalog, child, parents=(("verdict", parent.id), ("other", parent.id)))
    assert catalog.parents(child.id) == [("other", parent.id), ("verdict", parent.id)]
    assert catalog.children(grandparent.id) == [("verdict", parent.id)]
    walked = [(step.depth, step.noun.id) for step in backwards(catalog, child.id)]
    assert walked == [(0, child.id), (1, parent.id), (2, grandparent.id)]


def test_unknown_names_are_refused(catalog: Catalog) -> None:
    for ask in (catalog.get, catalog.stored, lambda name: backwards(catalog, name)):
        with pytest.raises(UnknownError, match="nothing-of-that-name"):
            ask("nothing-of-that-name")


def test_newest_first_and_only_of_the_use_case(catalog: Catalog) -> None:
    record(catalog, bento("shop:1"))
    record(catalog, bento("shop:2"))
    record(catalog, replace(bento("other:1"), use_case="other"))
    assert [found.tag for found in catalog.find(Bento, "shop")] == ["shop:2", "shop:1"]
    assert [found.tag for found in catalog.find(Bento, limit=1)] == ["other:1"]


def test_other_bytes_under_a_known_address_are_refused(catalog: Catalog) -> None:
    stored = Stored(
        address="0" * 32 + ".dir", manifest={"a": "1" * 64}, sha256=canonical.sha256({"a": "1" * 64}), bytes=1
    )
    record(catalog, verdict("a"), stored=(stored,))
    assert catalog.stored(stored.address) == stored
    with pytest.raises(IntegrityError, match="MD5 collides"):
        record(catalog, verdict("b"), stored=(replace(stored, sha256="f" * 64),))
    assert catalog.find(Verdict) == [verdict("a")]


def test_a_version_of_many_gigabytes_fits(catalog: Catalog) -> None:
    huge = Stored(address="1" * 32 + ".dir", manifest={}, sha256=canonical.sha256({}), bytes=2**40)
    record(catalog, verdict(), stored=(huge,))
    assert catalog.stored(huge.address).bytes == 2**40
    assert "BIGINT" in str(CreateTable(tables.STORED).compile(dialect=postgresql.dialect()))


# releases


def test_the_next_release_ends_the_one_before(catalog: Catalog) -> None:
    record(catalog, bento())
    record(catalog, release(1))
    record(catalog, release(2))
    assert catalog.champion("shop") == release(2)
    newest, oldest = catalog.releases("shop")
    assert (oldest["valid_to"], newest["valid_from"], newest["valid_to"]) == (
        NOON + timedelta(days=2),
        NOON + timedelta(days=2),
        None,
    )
    assert oldest["valid_from"].tzinfo is not None


@pytest.mark.parametrize(("days", "epoch"), [(0.99, None), (1, 1), (1.5, 1), (1.999, 1), (2, 2), (2000, 2)])
def test_who_served_at_a_moment(catalog: Catalog, days: float, epoch: int | None) -> None:
    record(catalog, release(1))
    record(catalog, release(2))
    served = catalog.champion("shop", at=NOON + timedelta(days=days))
    assert (served.epoch if served else None) == epoch


def test_a_naive_moment_is_refused(catalog: Catalog) -> None:
    with pytest.raises(Exception, match="no time zone"):
        catalog.champion("shop", at=datetime(2024, 5, 1))


def test_releasing_the_same_twice_is_releasing_once(catalog: Catalog) -> None:
    record(catalog, release(1), key="first")
    record(catalog, release(1), key="again")
    assert len(catalog.releases("shop")) == 1


@pytest.mark.parametrize("epoch", [1, 3, 7, 0])
def test_an_epoch_out_of_turn_is_refused(catalog: Catalog, epoch: int) -> None:
    record(catalog, release(1))
    late = release(epoch, decision="decision-late")
    with pytest.raises(ConflictError, match="run again"):
        record(catalog, late)
    assert [row["epoch"] for row in catalog.releases("shop")] == [1]
    with pytest.raises(UnknownError):
        catalog.get(late.id)


def test_a_canary_leaves_the_champion_in_place(catalog: Catalog) -> None:
    record(catalog, release(1))
    record(catalog, release(2, stage="canary", share=0.1))
    assert catalog.champion("shop") == release(1)


def test_the_database_itself_refuses_two_champions(catalog: Catalog) -> None:
    record(catalog, release(1))
    record(catalog, release(2))
    with (
        pytest.raises(Exception, match="UNIQUE"),
        catalog.engine.begin() as connection,
    ):
        connection.execute(text("UPDATE release SET valid_to = NULL"))


def test_fifty_threads_release_at_once(tmp_path: Path) -> None:
    """Each epoch has exactly one winner, and a watcher never sees no champion or two."""
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    first = Catalog(url)
    record(first, release(1))
    won: list[tuple[int, int]] = []
    seen: set[int] = set()
    over, barrier = threading.Event(), threading.Barrier(50)

    def contend(number: int) -> None:
        barrier.wait()
        for epoch in (2, 3, 4):
            try:
                record(first, release(epoch, decision=f"decision-of-{number:03d}"))
                won.append((epoch, number))
            except ConflictError:
                pass

    def watch() -> None:
        with create_engine(url).connect() as connection:
            while not over.is_set():
                serving = "SELECT count(*) FROM release WHERE stage = 'champion' AND valid_to IS NULL"
                seen.add(connection.execute(text(serving)).scalar_one())
                connection.rollback()

    watcher = threading.Thread(target=watch)
    watcher.start()
    contenders = [threading.Thread(target=contend, args=(number,)) for number in range(50)]
    for thread in contenders:
        thread.start()
    for thread in contenders:
        thread.join()
    over.set()
    watcher.join()
    first.engine.dispose()
    assert sorted(epoch for epoch, _ in won) == [2, 3, 4]
    assert seen == {1}
    assert [row["epoch"] for row in first.releases("shop")] == [4, 3, 2, 1]


RACE = """
import sys
from datetime import UTC, datetime
from counterfoil.catalog import Catalog
from counterfoil.errors import ConflictError
from counterfoil.types import Release
catalog, me = Catalog(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for epoch in range(1, 21):
    made = Release(use_case="shop", decision="decision-of-" + me, bento="b", tag="t", epoch=epoch, valid_from=datetime.now(UTC))
    try:
        catalog.record("release", f"{me}-{epoch}", [made], [], [], 0.0)
        print(epoch, flush=True)
    except ConflictError:
        pass
"""


def test_processes_open_a_new_catalog_and_release_at_once(tmp_path: Path) -> None:
    """Four processes find no database, all make it, and race for twenty epochs."""
    url = f"sqlite:///{tmp_path / 'new' / 'catalog.sqlite'}"
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, url, str(number)], **pipes) for number in range(4)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [int(epoch) for racer in racers for epoch in racer.communicate(timeout=120)[0].split()]
    assert [racer.returncode for racer in racers] == [0, 0, 0, 0]
    assert sorted(won) == list(range(1, 21))
    rows = Catalog(url).releases("shop")
    assert [row["epoch"] for row in rows] == list(range(20, 0, -1))
    assert [row["valid_to"] is None for row in rows] == [True] + [False] * 19


# the database


def test_readers_do_not_wait_for_a_writer(catalog: Catalog) -> None:
    record(catalog, release(1))
    with catalog.engine.begin() as writing:
        writing.execute(text("UPDATE release SET share = 0.5"))
        assert catalog.champion("shop") == release(1)
        assert [row["share"] for row in catalog.releases()] == [1.0]


def test_a_writer_does_not_wait_for_a_reader(catalog: Catalog) -> None:
    """Verify reads for minutes; the loop goes on recording meanwhile."""
    record(catalog, verdict("a"))
    reading = iter(catalog.rows())
    next(reading)
    record(catalog, verdict("b"))
    assert len(catalog.find(Verdict)) == 2


def test_times_are_utc_and_naive_ones_are_refused(catalog: Catalog) -> None:
    record(catalog, verdict())
    [row] = catalog.rows()
    assert row["recorded_at"].utcoffset() == timedelta(0)
    assert abs(row["recorded_at"] - datetime.now(UTC)) < timedelta(minutes=5)
    with pytest.raises(ValueError, match="no time zone"):
        tables.UtcTime().process_bind_param(datetime(2024, 1, 1), None)


def test_migrations_make_the_tables_of_today(catalog: Catalog) -> None:
    """`alembic check` finds nothing to migrate; it does not see CHECK constraints, so these are compared by hand."""
    from alembic import command
    from alembic.config import Config

    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    config.attributes["engine"] = catalog.engine
    command.check(config)

    fresh = create_engine("sqlite://")
    tables.METADATA.create_all(fresh)
    for name in tables.METADATA.tables:
        ours, wanted = (inspect(engine).get_check_constraints(name) for engine in (catalog.engine, fresh))
        assert sorted(c["sqltext"] for c in ours) == sorted(c["sqltext"] for c in wanted)
    with catalog.engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar() == HEAD


def test_migrations_go_down_and_up_again(catalog: Catalog) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(stdout=sys.stdout)
    config.set_main_option("script_location", str(Path(tables.__file__).parent / "migrations"))
    config.attributes["engine"] = catalog.engine
    command.downgrade(config, "base")
    assert inspect(catalog.engine).get_table_names() == ["alembic_version"]
    command.upgrade(config, "head")
    record(catalog, verdict())


def test_the_tables_compile_for_postgresql() -> None:
    dialect = postgresql.dialect()
    for table in tables.METADATA.sorted_tables:
        CreateTable(table).compile(dialect=dialect)
    [one_champion] = [index for index in tables.RELEASE.indexes if index.name == "one_champion"]
    assert str(CreateIndex(one_champion).compile(dialect=dialect)) == (
        "CREATE UNIQUE INDEX one_champion ON release (use_case) WHERE stage = 'champion' AND valid_to IS NULL"
    )
    assert "TIMESTAMP WITH TIME ZONE" in str(CreateTable(tables.RELEASE).compile(dialect=dialect))


def test_a_file_that_is_no_database_is_said_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("not a database at all, but quite long " * 50)
    with pytest.raises(UnavailableError, match="file is not a database") as said:
        Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "url", ["nonsense", "oracle+nothing://x/y", "postgresql+psycopg://nobody@127.0.0.1:1/none"]
)
def test_a_wrong_url_is_said_in_one_sentence(url: str) -> None:
    with pytest.raises(UnavailableError, match="catalog") as said:
        Catalog(url)
    assert "\n" not in str(said.value)


def test_a_password_is_never_said() -> None:
    with pytest.raises(UnavailableError) as said:
        Catalog("postgresql+psycopg://me:secret@127.0.0.1:1/none")
    assert "secret" not in str(said.value)

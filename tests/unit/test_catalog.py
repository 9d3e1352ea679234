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
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from counterfoil import canonical
from counterfoil.catalog import Catalog, codec, tables
from counterfoil.catalog.lineage import backwards
from counterfoil.catalog.migrate import HEAD
from counterfoil.errors import ConflictError, IntegrityError, UnavailableError, UnknownError
from counterfoil.store import Stored
from counterfoil.types import (
    Attempt,
    Bento,
    Candidate,
    Check,
    Comparison,
    Dataset,
    Decision,
    Evaluation,
    Noun,
    OnlineRows,
    Release,
    Verdict,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    yield opened
    opened.engine.dispose()


def verdict(subject: str = "2024-05-01", **changes: Any) -> Verdict:
    values: dict[str, Any] = {"sha256": "a" * 64, "rows": 3, "passed": True, "checks": (), "suite": "s"}
    return Verdict(subject=subject, **{**values, **changes})


def bento(tag: str = "shop:1") -> Bento:
    return Bento(
        use_case="shop",
        candidate="candidate-0000000000000000",
        dataset="dataset-0000000000000000",
        tag=tag,
        sha256="b" * 64,
        feature_service="shop_v1",
        code_version="test",
    )


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


# nouns

words = st.text(max_size=12)
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53)
ids = st.lists(names, max_size=3).map(tuple)
texts = st.lists(words, max_size=3).map(tuple)
moments = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
metrics = st.dictionaries(names, numbers, max_size=3)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | strategy


checks = st.builds(
    Check,
    expectation=names,
    column=maybe(words),
    severity=st.sampled_from(["critical", "warning"]),
    success=st.booleans(),
    errored=st.booleans(),
    observed=maybe(words),
    expected=maybe(words),
    unexpected_count=counts,
    samples=texts,
)
comparisons = st.builds(
    Comparison,
    evaluation=names,
    family=names,
    value=numbers,
    low=numbers,
    high=numbers,
    difference=maybe(numbers),
    difference_low=maybe(numbers),
    difference_high=maybe(numbers),
    noise=maybe(numbers),
    breaches=texts,
)
recipe = st.dictionaries(
    names,
    st.none() | st.booleans() | counts | numbers | words | st.lists(counts, max_size=2),
    max_size=3,
)
plain = {"code_version": names, "use_case": names}
NOUNS: dict[str, st.SearchStrategy] = {
    "verdict": st.builds(
        Verdict,
        subject=words,
        sha256=names,
        rows=counts,
        passed=st.booleans(),
        checks=st.lists(checks, max_size=3).map(tuple),
        suite=words,
        faulted=st.booleans(),
    ),
    "dataset": st.builds(
        Dataset,
        **plain,
        address=names,
        sha256=names,
        as_of=moments,
        holdout_from=moments,
        rows=counts,
        people=counts,
        items=counts,
        first_time=moments,
        last_time=moments,
        feature_service=names,
        verdicts=ids,
        seconds=numbers,
    ),
    "attempt": st.builds(
        Attempt,
        **plain,
        dataset=names,
        family=names,
        study=names,
        number=counts,
        config=recipe,
        seed=counts,
        metric=names,
        state=st.sampled_from(["complete", "pruned", "failed"]),
        value=maybe(numbers),
        first=maybe(numbers),
        bar=maybe(numbers),
        reason=words,
        seconds=numbers,
    ),
    "candidate": st.builds(
        Candidate,
        **plain,
        family=names,
        config=recipe,
        seed=counts,
        dataset=names,
        address=names,
        sha256=names,
        fit_seconds=numbers,
        peak_bytes=counts,
        artefact_bytes=counts,
    ),
    "evaluation": st.builds(
        Evaluation,
        **plain,
        candidate=names,
        family=names,
        seed=counts,
        dataset=names,
        address=names,
        sha256=names,
        units=counts,
        metrics=metrics,
        slices=st.dictionaries(names, metrics, max_size=2),
        cost=metrics,
    ),
    "decision": st.builds(
        Decision,
        **plain,
        dataset=names,
        verb=st.sampled_from(["promote", "hold", "reject"]),
        winner=maybe(names),
        champion=maybe(names),
        evaluations=ids,
        comparisons=st.lists(comparisons, max_size=2).map(tuple),
        sentences=texts,
        gate=names,
        approved_by=words,
    ),
    "bento": st.builds(
        Bento, **plain, candidate=names, dataset=names, tag=words, sha256=names, feature_service=names
    ),
    "online": st.builds(
        OnlineRows,
        use_case=names,
        dataset=names,
        as_of=moments,
        feature_service=names,
        sha256=names,
        rows=counts,
    ),
    "release": st.builds(
        Release,
        use_case=names,
        decision=names,
        bento=names,
        tag=words,
        epoch=counts,
        stage=st.sampled_from(["shadow", "canary", "champion", "retired"]),
        share=st.floats(0, 1),
        valid_from=moments,
        valid_to=maybe(moments),
    ),
}


def test_every_kind_is_tried() -> None:
    assert NOUNS.keys() == codec.NOUNS.keys()


@pytest.mark.parametrize("kind", NOUNS)
def test_a_noun_comes_back_as_it_was(kind: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(NOUNS[kind])
    def comes_back(noun: Noun) -> None:
        again = codec.decode(kind, canonical.encode(noun))
        assert again == noun and type(again) is type(noun)
        assert again.id == noun.id
        assert canonical.encode(again) == canonical.encode(noun)

    comes_back()


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"null",
        b"{",
        b'{"subject": "x"}',
        b'{"subject": "x", "sha256": "", "rows": 1, "passed": true, "checks": 5, "suite": ""}',
        canonical.encode({**canonical.plain(verdict()), "ghost": 1}),
    ],
)
def test_a_body_that_does_not_fit_is_refused(body: bytes) -> None:
    with pytest.raises(IntegrityError):
        codec.decode("verdict", body)


def test_an_unknown_kind_says_to_upgrade() -> None:
    with pytest.raises(IntegrityError, match="upgrade Counterfoil"):
        codec.decode("horoscope", b"{}")


def test_what_is_aside_does_not_name() -> None:
    assert bento().id == replace(bento(), code_version="another").id
    assert bento().id != replace(bento(), tag="shop:2").id


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

    config = Config()
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

    config = Config()
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

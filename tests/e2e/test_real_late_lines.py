"""Ten invoices of a real January day reach the shop's file in February: a new version of the data, the old one still there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterfoil import canonical
from counterfoil.importers import open_source
from counterfoil.landing import Landed, land, read_manifest
from counterfoil.settings import Settings
from flows.advance import Advanced
from flows.place import Place
from tests.loop_shop import ran, small_case, turn
from tests.real_history import real_set

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FEBRUARY = datetime(2011, 2, 1, tzinfo=UTC)
LATE_DAY = "2011-01-18"
LATE_INVOICES = 10


@dataclass(frozen=True, kw_only=True)
class Winter:
    """The winter with the late lines held back, and what came of it before and after they arrived."""

    place: Place
    folder: Path
    on_time: Landed
    days_before: dict[str, str]
    first: Advanced
    late: Landed
    days_after: dict[str, str]
    second: Advanced
    ran_second: list[str]
    again: list[str]


@pytest.fixture(scope="module")
def winter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Winter]:
    folder = tmp_path_factory.mktemp("winter")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COUNTERFOIL_HOME", str(folder / "home"))
        environment.setenv("BENTOML_HOME", str(folder / "home" / "bentoml"))
        write_lines(folder)
        yield live(folder)


def write_lines(folder: Path) -> None:
    """Cut the shop's file at February: all lines; those that are on time; the last invoices of the late day."""
    lines = pq.read_table(real_set("uci_online_retail") / "online_retail.parquet")
    lines = lines.filter(
        pc.less(lines["InvoiceDate"], pa.scalar(FEBRUARY.replace(tzinfo=None), pa.timestamp("us")))
    )
    known = pc.and_(
        pc.equal(pc.strftime(lines["InvoiceDate"], "%Y-%m-%d"), LATE_DAY), pc.is_valid(lines["CustomerID"])
    )
    invoices = sorted(set(lines.filter(known)["InvoiceNo"].to_pylist()))[-LATE_INVOICES:]
    held_back = pc.is_in(lines["InvoiceNo"], pa.array(invoices))
    for name, part in (
        ("all", lines),
        ("on-time", lines.filter(pc.invert(held_back))),
        ("late", lines.filter(held_back)),
    ):
        pq.write_table(part, folder / f"{name}.parquet")


def live(folder: Path) -> Winter:
    from flows.place import open_place

    place, case = open_place(), small_case()
    on_time = land(open_source("uci-online-retail", folder / "on-time.parquet"), place.settings)
    days_before = day_digests(place.settings)
    first, _ = turn(place, case, FEBRUARY)
    late = land(open_source("uci-online-retail", folder / "late.parquet"), place.settings)
    second, outcomes = turn(place, case, FEBRUARY)
    _, again = turn(place, case, FEBRUARY)
    return Winter(
        place=place,
        folder=folder,
        on_time=on_time,
        days_before=days_before,
        first=first,
        late=late,
        days_after=day_digests(place.settings),
        second=second,
        ran_second=ran(outcomes),
        again=ran(again),
    )


def day_digests(settings: Settings) -> dict[str, str]:
    return {day: part.sha256 for day, part in read_manifest(settings).days.items()}


def test_late_lines_land_in_their_own_day_and_in_no_other(winter: Winter) -> None:
    assert (winter.late.landed, winter.late.duplicates, winter.late.quarantined) == (
        winter.late.rows_in,
        0,
        0,
    )
    assert winter.late.days == (LATE_DAY,)
    changed = {day for day in winter.days_before if winter.days_before[day] != winter.days_after[day]}
    assert changed == {LATE_DAY}
    assert winter.days_before.keys() == winter.days_after.keys()


def test_they_make_a_new_version_of_the_same_moment(winter: Winter) -> None:
    first, second = winter.first.dataset, winter.second.dataset
    assert first.as_of == second.as_of == FEBRUARY
    assert second.id != first.id
    assert second.sha256 != first.sha256
    assert second.rows == first.rows + winter.late.landed


def test_only_the_verdict_of_that_day_is_another(winter: Winter) -> None:
    before, after = (
        {verdict.subject: verdict.sha256 for verdict in turned.verdicts[:-1]}
        for turned in (winter.first, winter.second)
    )
    assert {subject for subject in before if before[subject] != after[subject]} == {f"day:{LATE_DAY}"}
    assert all(verdict.passed for verdict in winter.second.verdicts)


def test_the_champion_of_the_old_version_defends_and_stays(winter: Winter) -> None:
    """A few lines more are no reason to change the model: the recipe that won is no better for having seen them."""
    assert winter.first.release is not None
    decision = winter.second.decision
    assert decision.champion == winter.first.decision.winner
    assert decision.verb in ("reject", "hold")
    same = next(one for one in decision.comparisons if one.family == "repurchase")
    assert same.difference is not None
    assert abs(same.difference) < 0.002
    assert winter.second.release is None
    champion = winter.place.catalog.champion("small")
    assert champion is not None
    assert champion.id == winter.first.release.id
    assert "evaluate champion" in winter.ran_second
    assert "package" not in winter.ran_second


def test_the_old_version_is_restored_by_its_name(winter: Winter, tmp_path: Path) -> None:
    from flows import commands

    old = winter.first.dataset
    commands.restore(old.id, tmp_path / "old")
    files = [path for path in (tmp_path / "old").rglob("*") if path.is_file()]
    found = {path.relative_to(tmp_path / "old").as_posix(): canonical.file_digest(path) for path in files}
    assert found == winter.place.catalog.stored(old.address).manifest
    assert canonical.sha256(found) == old.sha256
    assert pq.read_metadata(tmp_path / "old" / "interactions.parquet").num_rows == old.rows


def test_it_makes_no_difference_to_the_days_when_the_lines_came(winter: Winter, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    at_once = land(open_source("uci-online-retail", winter.folder / "all.parquet"), settings)
    assert at_once.landed == winter.on_time.landed + winter.late.landed
    assert day_digests(settings) == winter.days_after


def test_importing_either_file_again_changes_nothing(winter: Winter) -> None:
    for name, landed in (("on-time", winter.on_time), ("late", winter.late)):
        again = land(
            open_source("uci-online-retail", winter.folder / f"{name}.parquet"), winter.place.settings
        )
        assert again.already
        assert again.batch == landed.batch
    assert day_digests(winter.place.settings) == winter.days_after
    assert winter.again == []

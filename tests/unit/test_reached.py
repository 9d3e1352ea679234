"""Answers that something reached, counted: the same over open segments, sealed ones, and those sealed by earlier versions."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from counterfoil.errors import IntegrityError
from counterfoil.receipts import Receipts, sealed
from counterfoil.receipts.reached import Answers, Fresh, Sought, count
from counterfoil.types import Receipt, ReceiptItem
from flows import sealing
from flows.place import Place
from tests.ledger_home import opened
from tests.unit.test_receipts import NOON, receipt

MORNING, EVENING = (datetime(2026, 4, day, tzinfo=UTC) for day in (11, 12))
MANY = 600
NOON_US = round(NOON.timestamp() * 1e6)
RECENTLY = (
    {"events": [["i3", "view", NOON_US - 5_000_000, 1.0, 1], ["i4", "cart", NOON_US - 60_000_000, 1.0, 1]]},
    {"events": [["i4", "purchase", NOON_US - 3 * 86_400_000_000, 2.0, 0]], "tired": ["i5"]},
    {"tired": ["i6"]},
)  # microseconds


def stub(id: str, number: int) -> Receipt:
    """Return the nth answer: every third by another release, every fifth to nobody, items and feature times in turn."""
    items = tuple(
        ReceiptItem(item=f"i{(number + place) % 7}", score=0.5, sources=("own",), reasons=())
        for place in range(2)
    )
    return replace(
        receipt(id, NOON + timedelta(seconds=number)),
        release=f"release-{number % 3}",
        person="nobody" if number % 5 == 0 else f"p{number % 11}",
        items=items,
        feature_time=(None, MORNING, EVENING)[number % 4 % 3],
        arm="shadow" if number % 3 == 1 and number % 2 else "champion",
        features={"spend_28d": 1.5} if number % 7 else {"recent": RECENTLY[number // 7 % len(RECENTLY)]},
    )


@pytest.fixture(scope="module", params=["open", "sealed", "sealed before", "some of each"])
def answered(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Place, list[Receipt]]]:
    place = opened(tmp_path_factory.mktemp("answered") / "home")
    written: list[Receipt] = []
    for part in range(3):
        receipts = Receipts(place.settings.receipts)
        some = [stub(receipts.new_id(NOON), len(written) + number) for number in range(MANY // 3)]
        for pending in [receipts.submit(one) for one in some]:
            pending.result()
        receipts.close()
        written += some
        if request.param.startswith("sealed") or (request.param == "some of each" and part < 2):
            sealing.seal(place, quiet_seconds=0)
        if request.param == "sealed before" or (request.param == "some of each" and part == 0):
            for path in place.settings.receipts.glob("*/*.parquet"):
                as_before(path)
    yield place, written
    place.catalog.engine.dispose()


def as_before(path: Path) -> None:
    """Write a sealed segment as versions before this one did."""
    table = pq.read_table(path)
    gone = [name for name in ("feature_time", "items") if name in table.column_names]
    pq.write_table(table.drop_columns(gone), path, compression="zstd", row_group_size=sealed.GROUP_ROWS)


def spans(one: Receipt, sought: Sought) -> bool:
    if one.feature_time not in sought.moments:
        return False
    return any(
        (since is None or one.time >= since) and (until is None or one.time < until)
        for since, until in sought.moments[one.feature_time]
    )


SOUGHT = {
    "nothing": Sought(),
    "a release": Sought(releases=frozenset({"release-1"})),
    "two releases and none": Sought(releases=frozenset({"release-0", "release-2", "release-9"})),
    "a moment": Sought(moments={MORNING: [(None, None)]}),
    "a moment from a time on": Sought(moments={MORNING: [(NOON + timedelta(seconds=300), None)]}),
    "spans of two moments": Sought(
        moments={
            MORNING: [(None, NOON + timedelta(seconds=100)), (NOON + timedelta(seconds=200), None)],
            EVENING: [(NOON + timedelta(seconds=50), NOON + timedelta(seconds=51))],
        }
    ),
    "a person": Sought(person="p3"),
    "an item": Sought(item="i6"),
    "an event": Sought(
        fresh=(
            Fresh(
                since_us=NOON_US - 5_000_000,
                until_us=NOON_US - 4_999_999,
                kinds=frozenset({"view"}),
                item="i3",
            ),
        )
    ),
    "another kind of event": Sought(
        fresh=(
            Fresh(
                since_us=NOON_US - 5_000_000,
                until_us=NOON_US - 4_999_999,
                kinds=frozenset({"cart"}),
                item="i3",
            ),
        )
    ),
    "what was known of an item": Sought(item="i4", fresh=(Fresh(item="i4"),)),
    "the last minute, as it was known later": Sought(
        fresh=(Fresh(since_us=NOON_US - 60_000_000, until_us=NOON_US, known_us=NOON_US + 200_000_000),)
    ),
    "what was shown too often": Sought(
        fresh=(Fresh(kinds=frozenset({"impression"}), since_us=NOON_US - 86_400_000_000),)
    ),
    "what was shown long ago": Sought(
        fresh=(Fresh(kinds=frozenset({"impression"}), until_us=NOON_US - 8 * 86_400_000_000),)
    ),
    "events and a release": Sought(releases=frozenset({"release-1"}), fresh=(Fresh(item="i3"),)),
    "all of it": Sought(
        releases=frozenset({"release-1"}), moments={EVENING: [(None, None)]}, person="p3", item="i6"
    ),
}


KNEW = {
    "an event": {0},
    "another kind of event": set(),
    "what was known of an item": {0, 1},
    "the last minute, as it was known later": {0, 1, 2},  # what rests may have been shown then
    "what was shown too often": {1, 2},
    "what was shown long ago": set(),
    "events and a release": {0},
}  # by name of what is sought: which of RECENTLY


def knew(one: Receipt, name: str) -> bool:
    if "recent" not in one.features or RECENTLY.index(one.features["recent"]) not in KNEW.get(name, ()):
        return False
    return "known later" not in name or one.time >= NOON + timedelta(seconds=200)


def test_something_is_found_of_all_that_is_known(answered: tuple[Place, list[Receipt]]) -> None:
    _, written = answered
    assert all(sum(knew(one, name) for one in written) > 10 for name, which in KNEW.items() if which)


def hits_of(written: list[Receipt], sought: Sought, name: str) -> list[Receipt]:
    """Return what is to be found, one by one."""
    return [
        one
        for one in written
        if one.release in sought.releases
        or spans(one, sought)
        or one.person == sought.person
        or sought.item in [item.item for item in one.items]
        or knew(one, name)
    ]


@pytest.mark.parametrize("name", SOUGHT)
def test_each_answer_is_counted_once(answered: tuple[Place, list[Receipt]], name: str) -> None:
    place, written = answered
    sought = SOUGHT[name]
    hits = hits_of(written, sought, name)
    by_release = {
        name: sum(one.release == name for one in hits) for name in sorted({one.release for one in hits})
    }
    assert count(Receipts(place.settings.receipts), sought) == Answers(
        answers=len(hits),
        people=len({one.person for one in hits} - {"nobody"}),
        first=min((one.time for one in hits), default=None),
        last=max((one.time for one in hits), default=None),
        releases=by_release,
    )


@pytest.mark.parametrize("name", SOUGHT)
def test_what_nobody_saw_does_not_count(answered: tuple[Place, list[Receipt]], name: str) -> None:
    place, written = answered
    sought = SOUGHT[name]
    seen = [one for one in written if not one.unseen]
    assert 0 < len(written) - len(seen) < sum(one.release == "release-1" for one in written)
    hits = hits_of(seen, sought, name)
    found = count(
        Receipts(place.settings.receipts), replace(sought, challengers=frozenset({"release-1", "release-8"}))
    )
    assert found.answers == len(hits) == sum(found.releases.values())
    assert found.people == len({one.person for one in hits} - {"nobody"})


def test_a_segment_that_cannot_be_read_is_said(answered: tuple[Place, list[Receipt]], tmp_path: Path) -> None:
    place, _ = answered
    folder = shutil.copytree(place.settings.receipts, tmp_path / "receipts")
    path = sorted(folder.glob("*/*"))[0]
    held = path.read_bytes()
    path.write_bytes(held[:500] if path.suffix == sealed.SUFFIX else held[:200] + b"x" + held[201:])
    with pytest.raises(IntegrityError):
        count(Receipts(folder), SOUGHT["all of it"])

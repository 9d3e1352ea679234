"""A small shop with a history of bad batches, late lines and several turns of the loop, whose truth is kept beside it.

Only validation and the decision are stood in for, at the seam that `Steps` is: whoever comes last wins, so each turn releases.
What every dataset holds is known from the rows that were written here, never from the code that is tested.
"""

import dataclasses
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial, update_wrapper
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from counterfoil.catalog import Made
from counterfoil.contracts import EVENT, ITEM
from counterfoil.importers import open_source
from counterfoil.landing import land
from counterfoil.pseudonym import pseudonym
from counterfoil.receipts import Receipts
from counterfoil.types import Check, Decision, FeatureSpec, Receipt, ReceiptItem, UseCase, Verdict
from flows.advance import Advanced, advance
from flows.place import Place, code_version
from flows.steps import recorder, steps
from models.families.popularity import PopularityConfig
from models.families.repurchase import RepurchaseConfig
from tests.loop_shop import START, place_of, small_case, write_shop

DAYS, PEOPLE, ITEMS = 12, 40, 20
END = START + timedelta(days=DAYS)
NEXT, AFTER = END + timedelta(days=1), END + timedelta(days=2)
NOTHING_WRONG = Check(expectation="as_recorded", column=None, severity="critical", success=True)


@dataclass
class Turn:
    """One turn: what was made, of which rows and items the landing was then, and which kinds its use case takes."""

    made: Advanced
    as_of: datetime
    kinds: set[str]
    rows: list[dict[str, Any]]
    items: dict[str, dict[str, Any]]


@dataclass
class Answer:
    """One answer: its receipt, and the turn whose online rows its features came from."""

    receipt: Receipt
    rows_of: int | None


@dataclass
class History:
    """The installation, its batches by name (id and rows), its turns and answers."""

    place: Place
    folder: Path
    batches: dict[str, str] = field(default_factory=dict)
    brought: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    changed: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    landed: list[dict[str, Any]] = field(default_factory=list)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)

    def land(self, name: str, folder: Path) -> None:
        """Land a folder; keep which of its rows are new, and which items it changed."""
        self.batches[name] = land(open_source("contract", folder), self.place.settings).batch
        known = {row["id"] for row in self.landed}
        fresh: list[dict[str, Any]] = []
        for path in sorted((folder / "events").glob("*.parquet")):
            fresh += [row for row in pq.read_table(path).to_pylist() if row["id"] not in known]
        self.brought[name] = fresh
        self.landed = [*self.landed, *fresh]
        offered = (
            {row["id"]: row for row in pq.read_table(folder / "items.parquet").to_pylist()}
            if (folder / "items.parquet").is_file()
            else {}
        )
        self.changed[name] = {id: row for id, row in offered.items() if self.items.get(id) != row}
        self.items = {**self.items, **offered}

    def land_again(self, name: str) -> None:
        """Land a folder that was written before."""
        self.land(name, self.folder / name)

    def mended_base(self, day: int) -> Path:
        """Write the base with one day's prices mended."""
        rows = pq.read_table(self.folder / "base" / "events" / "part-0.parquet").to_pylist()
        for row in rows:
            if row["time"].date().isoformat() == day_of(day):
                row["price"] += 1
        items = pq.read_table(self.folder / "base" / "items.parquet").to_pylist()
        return self.write("base with a mended day", rows, items)

    def copy(self, place: Place) -> "History":
        """Return this history in a copy of its home."""
        return dataclasses.replace(
            self,
            place=place,
            landed=list(self.landed),
            turns=list(self.turns),
            answers=list(self.answers),
            batches=dict(self.batches),
            brought=dict(self.brought),
            changed=dict(self.changed),
        )

    def turn(self, case: UseCase, as_of: datetime) -> Turn:
        """Turn the loop, and remember of what."""
        kinds = {*case.features.history_kinds, *case.features.label_kinds}
        taken = [row for row in self.landed if row["kind"] in kinds and row["item"] and row["time"] < as_of]
        sold = {row["item"]: {"id": row["item"]} for row in taken}
        one = Turn(
            made=_advance(self.place, case, as_of),
            as_of=as_of,
            kinds=kinds,
            rows=taken,
            items={**sold, **self.items},
        )
        self.turns.append(one)
        return one

    def answer(self, count: int, rows_of: int | None, *, seal: bool = False) -> None:
        """Write receipts of the champion of now: to people in turn, showing items in turn."""
        release = self.place.catalog.champion("small")
        assert release is not None
        receipts = Receipts(self.place.settings.receipts)
        for number in range(count):
            now = datetime.now(UTC)
            person = (
                "nobody" if number % 7 == 6 else self.pseudonym(f"person {(len(self.answers) + number) % 50}")
            )
            shown = [f"i{(len(self.answers) + number + place) % ITEMS:03d}" for place in range(3)]
            stub = Receipt(
                id=receipts.new_id(now),
                time=now,
                use_case="small",
                release=release.id,
                bento=release.tag,
                epoch=release.epoch,
                person=person,
                request={},
                items=tuple(
                    ReceiptItem(item=item, score=1.0, sources=("repurchase",), reasons=("often",))
                    for item in shown
                ),
                rules=(),
                features={},
                feature_time=None if rows_of is None else self.turns[rows_of].as_of,
                degraded=(),
            )
            receipts.submit(stub).result()
            self.answers.append(Answer(stub, rows_of))
        receipts.close()
        if seal:
            from flows.sealing import seal as seal_receipts

            assert seal_receipts(self.place, quiet_seconds=0)["segments"] >= 1

    def pseudonym(self, name: str) -> str:
        """Return a person's pseudonym."""
        return pseudonym(name, self.place.settings.pseudonym_key)

    def write(
        self, name: str, rows: Sequence[dict[str, Any]] = (), items: Sequence[dict[str, Any]] = ()
    ) -> Path:
        """Write a batch's folder."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "events").mkdir(parents=True)
        if rows:
            pq.write_table(
                pa.Table.from_pylist(list(rows), EVENT.arrow()), folder / "events" / "part-0.parquet"
            )
        if items:
            pq.write_table(pa.Table.from_pylist(list(items), ITEM.arrow()), folder / "items.parquet")
        return folder

    def digest_of(self, day: int) -> str:
        """Return the SHA-256 of a day's file as it lies there now."""
        from counterfoil.landing import read_manifest

        return read_manifest(self.place.settings).days[day_of(day)].sha256


def day_of(day: int) -> str:
    return (START + timedelta(days=day)).date().isoformat()


def event(
    id: str, day: int, person: str, item: str | None, kind: str = "purchase", hour: int = 12
) -> dict[str, Any]:
    time = START + timedelta(days=day, hours=hour)
    row = dict.fromkeys(EVENT.names)
    return {
        **row,
        "id": id,
        "time": time,
        "person": person,
        "kind": kind,
        "item": item,
        "quantity": 1.0,
        "price": 3.0,
    }


def case_of(name: str = "small", labels: tuple[str, ...] = ("purchase",)) -> UseCase:
    spec = FeatureSpec(
        service="recommendation_v1",
        keys=("person", "item"),
        label_kinds=labels,  # type: ignore[arg-type]
        horizon_days=3,
        cutoffs=1,
    )
    return small_case(name=name, features=spec, contenders=(PopularityConfig(), RepurchaseConfig()))


def validate(place: Place, days: dict[str, str], tables: dict[str, str], policy: object = None) -> Made:
    return Made(
        nouns=tuple(
            Verdict(
                subject=f"day:{day}",
                sha256=sha256,
                rows=1,
                passed=True,
                checks=(NOTHING_WRONG,),
                suite="planted#1@0",
            )
            for day, sha256 in days.items()
        )
    )


def inspect(place: Place, dataset: Any, champion: Any, policy: object = None) -> Made:
    return Made(
        nouns=(
            Verdict(
                subject=dataset.id,
                sha256=dataset.sha256,
                rows=1,
                passed=True,
                checks=(NOTHING_WRONG,),
                suite="planted#1@0",
            ),
        )
    )


def decide(
    place: Place, case: UseCase, dataset: Any, verdict: Any, evaluations: Any, defending: Any, refits: Any
) -> Made:
    made = Decision(
        use_case=case.name,
        dataset=dataset.id,
        verb="promote",
        winner=evaluations[-1].candidate,
        champion=None if defending is None else defending.candidate,
        evaluations=tuple(one.id for one in (*evaluations, *refits)),
        comparisons=(),
        sentences=("The last one wins.",),
        gate="none",
        code_version=code_version(),
    )
    return Made(nouns=(made,))


def _advance(place: Place, case: UseCase, as_of: datetime) -> Advanced:
    memory = recorder(place)
    stood_in = {}
    for verb, many in ((validate, True), (inspect, False), (decide, False)):
        bound = partial(verb, place)
        update_wrapper(bound, verb)
        stood_in[verb.__name__] = memory.wrap(bound, many=many)
    return advance(case, as_of, dataclasses.replace(steps(place, memory), **stood_in))


def live_until(name: str, folder: Path) -> History:
    """Return the history as it was after the turn on the base, or the one after the late lines."""
    lived = History(place=place_of(folder / "home"), folder=folder)
    base = write_shop(folder / "base", days=DAYS, people=PEOPLE, items=ITEMS)
    for further, day in (("tomorrow", DAYS), ("later", DAYS + 1)):
        (
            write_shop(folder / further, days=range(day, day + 1), people=PEOPLE, items=ITEMS)
            / "items.parquet"
        ).unlink()
    lived.land("base", base)
    lived.turn(case_of(), END)  # 0
    lived.answer(20, 0, seal=True)
    lived.digests["day 5 at first"] = lived.digest_of(5)
    if name == "base":
        return lived
    late = [
        event("late-1", 5, "late person", "i001"),
        event("late-2", 7, "person 1", "i002", hour=23),
        event("late-3", 7, "person 2", "i900"),
    ]
    lived.land("late", lived.write("late", late))
    lived.turn(case_of(), END)  # 1: the same as-of, other files
    lived.answer(15, 1, seal=True)
    return lived


def live(folder: Path) -> History:
    """Return the history: a base, late lines, another day, carts, views, bad items and mended ones, with a turn after most."""
    lived = live_until("late", folder)
    lived.land("tomorrow", folder / "tomorrow")
    lived.turn(case_of(), NEXT)  # 2
    lived.answer(15, 2)
    carts = [
        event("cart-1", 6, "person 3", "i003", "cart"),
        event("cart-2", 6, "cart person", "i004", "cart"),
    ]
    lived.land("carts", lived.write("carts", carts))
    lived.turn(case_of("carts", ("purchase", "cart")), END)  # 3: takes carts; its online rows hold none
    views = [
        event("view-1", 8, "person 4", "i001", "view"),
        event("return-1", 8, "search person", None, "message"),
    ]
    views[1]["query"] = "where is my order"
    lived.land("views", lived.write("views", views))
    lived.land("later", folder / "later")
    dear = {**lived.items["i003"], "price": 999.0}
    lived.land("dear", lived.write("dear", items=[dear, lived.items["i004"]]))
    lived.turn(case_of(), AFTER)  # 4
    lived.answer(15, 4, seal=True)
    lived.answer(5, None)
    lived.land("mended", lived.write("mended", items=[{**dear, "price": 1.99}]))
    lived.turn(case_of(), AFTER)  # 5: the same as-of, the item mended
    lived.answer(10, 5)
    lived.land("unused", lived.write("unused", [event("unused-1", 3, "person 5", "i002")]))
    return lived


def start_anew(lived: History, folder: Path) -> History:
    """Return the history in a copy of its home, its landing emptied and filled anew without the late lines, turned once more."""
    home = shutil.copytree(lived.place.settings.home, folder / "home")
    shutil.rmtree(home / "landing")
    again = dataclasses.replace(
        lived,
        place=place_of(home),
        folder=folder,
        landed=[],
        items={},
        turns=list(lived.turns),
        answers=list(lived.answers),
    )
    for name in ("base", "tomorrow", "later"):
        brought, changed = again.brought[name], again.changed[name]
        again.land(name, lived.folder / name)
        again.brought[name], again.changed[name] = brought, changed
    again.turn(case_of(), AFTER)  # 6
    again.answer(
        5, 5
    )  # of one moment the online store keeps the rows that counted more events: those with the late lines
    return again

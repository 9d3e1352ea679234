"""Answers made anew: from the archived bento and the person as they were known, held against what the receipts keep.

Many receipts of one bento go through one child process (bentos/replay.py). What is not the same has a class (flows/sameness.py).
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bentos.replay import Replayer
from counterfoil import canonical, terminal
from counterfoil.catalog.erased import erased
from counterfoil.errors import ConfigError, CounterfoilError, InputError, IntegrityError, UnavailableError
from counterfoil.terminal import Stages
from counterfoil.types import Receipt
from flows import agree, copied, draw
from flows.archived import NotArchived, archived, other_libraries
from flows.draw import Replayed
from flows.place import Place, open_place
from flows.recall import Recall
from flows.sameness import CLASSES, DIFFERS, GONE, SAME, judge

Progress = Callable[[str, int], None]


def replay(ids: Sequence[str], sample: int | None, seed: int, stages: Stages) -> dict[str, Any]:
    """Make the answers of these receipts anew, or of `sample` of all there are, evenly, and tell how they compare.

    InputError when neither or both are asked for; UnknownError for an id that is not known.
    """
    if bool(ids) == (sample is not None):
        raise InputError("name the receipts, or ask for a sample of all with --sample N")
    place = open_place()
    receipts = place.receipts
    with stages.stage("receipts"):
        drawn = (
            [draw.named(receipts, id) for id in ids]
            if sample is None
            else list(draw.sample(receipts, sample, seed))
        )
    if not drawn:
        raise InputError("there are no receipts yet; ask the service something first")
    with stages.stage("replay"):
        done = list(replayed(place, drawn, stages.advance))
    return summary(done)


def replayed(
    place: Place, drawn: Sequence[Receipt | Replayed], progress: Progress = lambda what, count: None
) -> Iterator[Replayed]:
    """Yield how each receipt's answer comes out, bento by bento; those that could not even be read come first."""
    yield from (one for one in drawn if isinstance(one, Replayed))
    stubs = [one for one in drawn if isinstance(one, Receipt)]
    odd = altered(place, stubs)
    yield from odd
    left = [stub for stub in stubs if stub.id not in {one.id for one in odd}]
    yield from (copied.judged(place.receipts, stub) for stub in left if copied.is_copied(stub))
    left = [stub for stub in left if not copied.is_copied(stub)]
    count = len(drawn) - len(left)
    with recall(place) as remembered:
        remembered.expect(left)
        for tag in sorted({stub.bento for stub in left}):
            for one in _of_bento(place, tag, [stub for stub in left if stub.bento == tag], remembered):
                count += 1
                progress("replay", count)
                yield one


@contextmanager
def recall(place: Place) -> Iterator[Recall]:
    """Find people as they were; what had to be built again for that is cleared away after the block."""
    place.settings.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="recall-", dir=place.settings.work) as scratch:
        yield Recall(place, Path(scratch))


def _of_bento(place: Place, tag: str, stubs: list[Receipt], remembered: Recall) -> Iterator[Replayed]:
    libraries = other_libraries(place, tag)
    try:
        with archived(place, stubs[0]) as child:
            for stub in stubs:
                yield _one(stub, child, remembered, libraries)
    except NotArchived as fault:
        for stub in stubs:
            yield Replayed(id=stub.id, bento=tag, kind=fault.kind, detail=str(fault))


def _one(stub: Receipt, child: Replayer, remembered: Recall, libraries: tuple[str, ...]) -> Replayed:
    person = remembered.person(stub)
    notes = (*libraries, *person.notes)
    said: dict[str, Any] = {"id": stub.id, "bento": stub.bento, "found": person.found, "notes": notes}
    if person.missing is not None:
        kind, _, detail = person.missing.partition(": ")
        return Replayed(kind=kind, detail=detail, **said)
    try:
        answer = child.answer(canonical.plain(stub), person.view, remembered.rules(stub))
    except ConfigError as fault:
        return Replayed(kind="rules gone", detail=str(fault), **said)
    except UnavailableError as fault:
        return Replayed(kind="cannot replay", detail=str(fault), **said)
    kind, detail = judge(stub, answer)
    return Replayed(kind=kind, detail=detail, **said)


def altered(place: Place, stubs: list[Receipt]) -> list[Replayed]:
    """Return the receipts that are not what was sealed, or say otherwise of their release than the catalog."""
    receipts, seals, gone = place.receipts, place.catalog.seals(), erased(place.catalog)
    files = {path.stem: path for path in receipts.sealed_segments()}
    unlike: dict[str, list[str]] = {}
    out = []
    for stub in stubs:
        name = stub.id.removeprefix("receipt-").rpartition("-")[0]
        if name not in unlike:
            sealed_as = seals.get(name)
            unlike[name] = []
            if sealed_as is not None and name in files:
                unlike[name] = agree.unlike_seal(files[name], sealed_as, gone.segment(name))
        faults = unlike[name] or agree.held(stub, _release(place, stub))
        if faults:
            out.append(
                Replayed(id=stub.id, bento=stub.bento, kind="receipt altered", detail="; ".join(faults))
            )
    return out


def _release(place: Place, stub: Receipt) -> Any:
    try:
        return place.catalog.get(stub.release)
    except CounterfoilError:
        return None


def summary(done: Iterable[Replayed]) -> dict[str, Any]:
    """Return the counts of each class, in all and by bento, and every receipt that did not come out the same."""
    done = list(done)
    counts = Counter(one.kind for one in done)
    tags = sorted({one.bento for one in done})
    return {
        "receipts": len(done),
        "same": counts[SAME],
        "share_same": counts[SAME] / len(done),
        "differs": sum(counts[kind] for kind in DIFFERS),
        "gone": sum(counts[kind] for kind in GONE),
        "classes": _counted(counts),
        "bentos": [
            {"bento": tag, "classes": _counted(Counter(one.kind for one in done if one.bento == tag))}
            for tag in tags
        ],
        "not_same": [one for one in done if one.kind != SAME],
        "notes": sorted({note for one in done for note in one.notes}),
    }


def _counted(counts: "Counter[str]") -> dict[str, int]:
    return {kind: counts[kind] for kind in CLASSES if counts[kind]}


SHOWN = 20


def show(found: dict[str, Any]) -> None:
    """Show a table of classes per bento, and what is different."""
    columns = [kind for kind in CLASSES if kind in found["classes"]]
    rows = [
        [one["bento"] or "unknown", *(one["classes"].get(kind, 0) for kind in columns)]
        for one in found["bentos"]
    ]
    terminal.table("Answers made anew", ["bento", *columns], rows)
    for one in found["not_same"][:SHOWN]:
        terminal.OUT.print(f"[red]{one.kind}[/] {one.id}: {one.detail}", highlight=False, soft_wrap=True)
    if len(found["not_same"]) > SHOWN:
        terminal.OUT.print(f"... and {len(found['not_same']) - SHOWN:,} more; --json has them all")
    for note in found["notes"]:
        terminal.OUT.print(f"[dim]note[/] {note}", highlight=False, soft_wrap=True)
    same = "[bold green]same[/]" if found["same"] == found["receipts"] else "the same"
    terminal.OUT.print(
        f"{found['same']:,} of {found['receipts']:,} {same}: items, order, scores, reasons", highlight=False
    )


def exit_code(found: dict[str, Any]) -> int:
    """Return 0 when all came out the same, 5 when something differs, 7 when something is not there to replay by."""
    if found["differs"]:
        return IntegrityError.exit_code
    return UnavailableError.exit_code if found["gone"] else 0

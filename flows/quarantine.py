"""Quarantine: what something bad has reached may not be released, nor anything that is made of it later.

Asked of a release is what it holds: its bento, the model in it, what that learned from. That a decision weighed something that is
in quarantine, as it does when the champion defends, stops nobody who does not hold it.
"""

import getpass
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial, update_wrapper
from typing import Any

import orjson
from sqlalchemy import select

from counterfoil import terminal
from counterfoil.catalog import Made, tables
from counterfoil.catalog.lineage import nouns as nouns_of
from counterfoil.errors import GateError, InputError, UnknownError
from counterfoil.landing import holding
from counterfoil.types import Bento, Dataset, Decision, Evaluation, Noun, Quarantine, Verdict
from flows.place import Place, open_place

KEPT = ("dataset", "attempt", "candidate", "evaluation", "decision", "bento", "online", "release", "verdict")


def quarantine(place: Place, subject: str, nouns: Sequence[Noun], reason: str, by: str, at: datetime) -> Made:
    """Keep nouns from being released: what `subject` reached, and the verdicts on the files that it came by."""
    made = Quarantine(
        subject=subject, nouns=tuple(sorted(noun.id for noun in nouns)), reason=reason, by=by, at=at
    )
    return Made(nouns=(made,))


def lift(place: Place, held: Quarantine, reason: str, by: str, at: datetime) -> Made:
    """End a quarantine."""
    made = Quarantine(subject=held.subject, nouns=(), reason=reason, by=by, at=at, lifts=held.id)
    return Made(nouns=(made,))


def impose(
    place: Place,
    subject: str,
    nouns: Iterable[str],
    sources: dict[str, set[str]],
    reason: str,
    by: str | None,
) -> Quarantine:
    """Record a quarantine of nouns, and of the verdicts on files of days (`sources`: by day their SHA-256)."""
    kept = {name for name in nouns if name.partition("-")[0] in KEPT} | _verdicts(place, sources)
    made: Quarantine = _recorded(place, quarantine)(
        subject,
        nouns_of(place.catalog, sorted(kept)),
        _said(reason),
        by or getpass.getuser(),
        datetime.now(UTC),
    )
    return made


def end(place: Place, name: str, reason: str, by: str | None) -> Quarantine:
    """Record that a quarantine ended. UnknownError when there is none of that id, InputError when it ended before."""
    held = next((one for one, _ in place.catalog.recorded(Quarantine) if one.id == name), None)
    if held is None:
        raise UnknownError(
            f"no quarantine {name!r} was recorded; `counterfoil quarantine list` shows those that were"
        )
    if held.id not in {one.id for one in in_force(place)}:
        raise InputError(
            f"{name} keeps nothing any more: it was lifted, or lifts another; nothing was changed"
        )
    made: Quarantine = _recorded(place, lift)(held, _said(reason), by or getpass.getuser(), datetime.now(UTC))
    return made


def in_force(place: Place) -> list[Quarantine]:
    """Return the quarantines that nothing has lifted, oldest first."""
    every = [one for one, _ in place.catalog.recorded(Quarantine)]
    lifted = {one.lifts for one in every}
    return [one for one in every if one.lifts is None and one.id not in lifted]


def require_free(place: Place, bento: Bento, decision: Decision | None = None) -> None:
    """See that a bento may be released. GateError names what keeps it in quarantine, and why."""
    held = hold(place, bento, decision)
    if held is not None:
        one, name = held
        raise GateError(
            f"{bento.tag} is not released: it holds {name}, which {one.id} keeps in quarantine since {one.at:%Y-%m-%d}"
            f" ({one.subject}: {one.reason}); mend the data and run again, or end it with"
            f" `counterfoil quarantine lift {one.id} --reason TEXT`"
        )


def hold(place: Place, bento: Bento, decision: Decision | None = None) -> tuple[Quarantine, str] | None:
    """Return the first quarantine in force that keeps a bento, and the noun in it by which it does; None for a free one."""
    kept = in_force(place)
    if not kept:
        return None
    within = _within(place, bento, decision)
    for one in kept:
        names = {noun.id for noun in within} & set(one.nouns) or _reached_anew(place, one, within)
        if names:
            return one, min(names)
    return None


def _within(place: Place, bento: Bento, decision: Decision | None) -> list[Noun]:
    """Return what a bento holds: itself, its model, the trials and datasets behind that; and how its winner was judged."""
    names = {bento.dataset, bento.candidate}
    names |= {parent for _, parent in place.catalog.parents(bento.candidate)}
    found = nouns_of(place.catalog, sorted(names))
    more = {str(noun.dataset) for noun in found if hasattr(noun, "dataset")} - names  # of trials
    judged: list[Noun] = []
    if decision is not None:
        every = nouns_of(place.catalog, decision.evaluations)
        judged = [
            decision,
            *(one for one in every if isinstance(one, Evaluation) and one.candidate == bento.candidate),
        ]
    return [bento, *found, *nouns_of(place.catalog, sorted(more)), *judged]


def _reached_anew(place: Place, one: Quarantine, within: Sequence[Noun]) -> set[str]:
    """Return which of these nouns the quarantine's subject reaches though they came after it: asked of their contents."""
    from flows import blast
    from flows.contents import Library
    from flows.subject import landed, recalled

    subject = recalled(one.subject)
    if subject is None or subject.kind == "noun":
        return set()
    if subject.kind == "code":
        [code] = subject.values
        return {noun.id for noun in within if blast.is_code(code, getattr(noun, "code_version", ""))}
    known = landed(place)
    library = Library(place, [noun for noun in within if isinstance(noun, Dataset)])
    try:
        if subject.kind in ("batch", "file"):
            sources = blast.source_versions(place, subject, known, library)
        else:  # as it lay there when it was put into quarantine, and what was made of that: not what is mended
            sources = {day: holding(seeds, known.records, day) for day, seeds in _files(place, one).items()}
        return set(blast.holders(place, subject, known, library, sources))
    except UnknownError:  # its events lie nowhere any more
        return set()


def _files(place: Place, one: Quarantine) -> dict[str, set[str]]:
    """Return the files of days that a quarantine names by their verdicts."""
    found: dict[str, set[str]] = {}
    for noun in nouns_of(place.catalog, [name for name in one.nouns if name.startswith("verdict-")]):
        assert isinstance(noun, Verdict)
        if noun.subject.startswith("day:"):
            found.setdefault(noun.subject.removeprefix("day:"), set()).add(noun.sha256)
    return found


def _verdicts(place: Place, sources: dict[str, set[str]]) -> set[str]:
    """Return the verdicts on these files of days."""
    if not sources:
        return set()
    query = select(tables.NOUN.c.id, tables.NOUN.c.body).where(tables.NOUN.c.kind == Verdict.kind)
    with place.catalog.reader.connect() as connection:
        every = [(name, orjson.loads(body)) for name, body in connection.execute(query)]
    return {
        name
        for name, body in every
        if body["sha256"] in sources.get(body["subject"].removeprefix("day:"), ())
    }


def _recorded(place: Place, verb: Callable[..., Made]) -> Callable[..., Any]:
    from flows.steps import recorder

    bound = partial(verb, place)
    update_wrapper(bound, verb)
    return recorder(place).wrap(bound)


def _said(reason: str) -> str:
    if not reason.strip():
        raise InputError("a quarantine needs a reason; say it with --reason TEXT")
    return reason.strip()


def listed() -> dict[str, Any]:
    """Return every quarantine with what it keeps, the newest first, and whether it is in force."""
    place = open_place()
    every = [one for one, _ in reversed(place.catalog.recorded(Quarantine))]
    lifts = {one.lifts: one for one in every if one.lifts is not None}
    return {"quarantines": [_told(one, lifts.get(one.id)) for one in every if one.lifts is None]}


def _told(one: Quarantine, lifted: Quarantine | None) -> dict[str, Any]:
    kinds: dict[str, int] = {}
    for name in one.nouns:
        kind = name.partition("-")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    return {
        "id": one.id,
        "subject": one.subject,
        "reason": one.reason,
        "by": one.by,
        "at": one.at,
        "keeps": dict(sorted(kinds.items())),
        "in_force": lifted is None,
        "lifted": None
        if lifted is None
        else {"id": lifted.id, "reason": lifted.reason, "by": lifted.by, "at": lifted.at},
    }


def show_listed(told: dict[str, Any]) -> None:
    """Show quarantines to a person."""
    if not told["quarantines"]:
        terminal.OUT.print("nothing was ever put into quarantine")
        return
    rows = [
        [
            one["id"],
            one["subject"],
            ", ".join(f"{count} {kind}" for kind, count in one["keeps"].items()) or "what is made of it",
            f"{one['reason']} ({one['by']}, {one['at']:%Y-%m-%d})",
            "in force" if one["in_force"] else f"lifted: {one['lifted']['reason']} ({one['lifted']['by']})",
        ]
        for one in told["quarantines"]
    ]
    terminal.table("Quarantine", ["id", "of", "keeps", "why", "state"], rows)


def lifted(name: str, reason: str, by: str | None) -> dict[str, Any]:
    """End a quarantine, and say which."""
    made = end(open_place(), name, reason, by)
    return {"id": made.id, "lifts": made.lifts, "subject": made.subject, "reason": made.reason, "by": made.by}


def show_lifted(told: dict[str, Any]) -> None:
    """Say what ended."""
    terminal.OUT.print(
        f"{told['lifts']} ({told['subject']}) is lifted by {told['id']}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )

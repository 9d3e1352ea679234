"""Forgetting a person: every place is walked, emptied, and walked again; what went and what remains is certified and recorded.

What is meant is written down first (journal.py). Killed anywhere, asking again goes on from there.
"""

import getpass
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from counterfoil import terminal
from counterfoil.errors import ConflictError, InputError, IntegrityError
from counterfoil.terminal import Stages
from counterfoil.types import Bento, Erasure, Quarantine, Verdict
from flows import collecting, inbox
from flows.people import answers, certificate, journal, learned, record, retrain, versions
from flows.people.identify import identify
from flows.people.journal import Begun
from flows.people.places import PLACES
from flows.people.who import Who, who_of
from flows.place import Place, open_place
from flows.running import only_run
from flows.subject import recalled

RECEIPTS = "receipts"
Tell = Callable[[str, int], None]


def run(person: str, by: str | None, to: Path | None, stages: Stages) -> dict[str, Any]:
    """Forget a person, and hand the certificate out; as `forget`."""
    place = open_place()
    with stages.stage("forget"):
        return forget(
            place, person, by or getpass.getuser(), to, lambda what, count: stages.advance(what, count)
        )


def forget(
    place: Place, person: str, by: str, to: Path | None = None, tell: Tell = lambda what, count: None
) -> dict[str, Any]:
    """Take away all that is held about a person; return the certificate, and where it was written.

    Where nothing is held nothing is changed, and the certificate says so. ConflictError when a run or an import is going on, or
    a process that this home did not start writes receipts of this person; InputError when `to` lies in the home or exists;
    IntegrityError when something is found afterwards all the same.
    """
    with _alone(place):
        inbox.land_waiting(
            place
        )  # what waits is landed data that came late: raw files are gone through once it is
        collecting.collect(place)  # and so are events that came in over HTTP
        who, begun = _who(place, identify(place, person), by)
        target = _target(place, to, begun)
        finished = certificate.kept(place, begun.commitment).is_file()
        if not finished:
            begun = _plan(place, who, begun, tell)
        if not any(begun.removed.values()):
            return _nothing(place, begun, target)
        if not finished:
            journal.keep(place, begun)
            _empty(place, who, begun, tell)
        remains = [] if finished else _remains(place, begun)
        erasure, told = record.certified(place, begun, remains, answers.redacted(place, begun.commitment))
        asked = _ask(place, begun)
        place.catalog.checkpoint()
        handed = certificate.handed_out(place, told, begun, erasure)
        certificate.write(handed, target)
        journal.close(place, begun)
    return {
        "erasure": erasure.id,
        "certificate": str(target),
        "text": str(target.with_suffix(".txt")),
        "retrain": {"asked": asked, "started": bool(asked) and retrain.trigger(place)},
        **{name: told["certificate"][name] for name in ("person", "at", "removed", "learned", "remains")},
    }


@contextmanager
def _alone(place: Place) -> Iterator[None]:
    """Hold what an erasure needs: no other erasure, and no turn of any use case, which would write what is being taken away."""
    from flows.use_cases import names

    known = {row["use_case"] for row in place.catalog.rows() if row["use_case"]}
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(place.settings.home / "erasing.lock", timeout=0))
        except Timeout as fault:
            raise ConflictError(
                "somebody is being forgotten already, or what is here goes to the remote; wait for that to end"
            ) from fault
        for use_case in sorted(known | set(names())):
            held.enter_context(only_run(place, use_case))
        for half in place.settings.home.glob("packaging-*"):
            shutil.rmtree(half, ignore_errors=True)  # of a packaging that was killed: nobody packages now
        shutil.rmtree(place.settings.work / "remote", ignore_errors=True)  # receipts that were compared
        for half in place.settings.receipts.glob("*/*.fetching"):  # and those of a fetch that was killed
            half.unlink(missing_ok=True)
        yield


def _who(place: Place, who: Who, by: str) -> tuple[Who, Begun]:
    """Return the person and their erasure: the one that was begun, with what it knew of them, or a new one."""
    before = journal.open_of(place, who.pseudonym)
    sessions = tuple(sorted({*who.sessions, *(before.sessions if before else ())}))
    events = tuple(sorted({*_samples(place, who), *(before.events if before else ())}))
    found = who_of(place, who.pseudonym, who.name, sessions, events)
    shared = tuple(one for one in who.shared if one not in found.answered)
    return replace(found, shared=shared), before or journal.begin(who, by)


def _samples(place: Place, who: Who) -> list[str]:
    """Return the ids of the person's events that verdicts name as samples of a broken rule, and quarantines as their subject."""
    from counterfoil.landing.erase import rows_of

    named: set[str] = set()
    for row in place.catalog.rows():
        if row["kind"] == Verdict.kind:
            named.update(
                sample for check in orjson.loads(row["body"])["checks"] for sample in check["samples"]
            )
        elif row["kind"] == Quarantine.kind and (subject := recalled(orjson.loads(row["body"])["subject"])):
            named.update(subject.values if subject.kind == "event" else ())
    if not named:
        return []
    found = rows_of(place.settings, who.pseudonym, ())
    return [row["id"] for kind, row in found if kind == "events" and row["id"] in named]


def _target(place: Place, to: Path | None, begun: Begun) -> Path:
    """Return where the certificate is handed out: not in the home, which is to hold nothing of the person."""
    path = to or Path.cwd() / f"forgotten-{begun.commitment[:12]}.json"
    if path.suffix != ".json" or path.is_dir() or not path.absolute().parent.is_dir():
        raise InputError(
            f"the certificate cannot be written to {path}; name a .json file in a folder that exists"
        )
    if path.is_file() and begun.commitment.encode() not in path.read_bytes():
        raise InputError(
            f"{path} is there already, and may be the only copy of another certificate; name a file that is not"
        )
    if path.resolve().is_relative_to(place.settings.home.resolve()):
        raise InputError(
            f"{path} lies in the home, which shall hold nothing of this person; name a file elsewhere"
        )
    return path


def _plan(place: Place, who: Who, begun: Begun, tell: Tell) -> Begun:
    """Walk every place, and find what learned from the person, before anything goes."""
    removed, bare = {}, 0
    for holding in PLACES:
        count = 0
        for row in holding.find(place, who):
            count += 1
            bare += holding.name == RECEIPTS and not row.get("nonce")
        removed[holding.name] = count
        tell("find", sum(removed.values()))
    found = versions.held(place, who)
    from_them = learned.learned(place, who, found.numbers)
    serving = learned.serving(place)
    holds = learned.holding(place, from_them, found.numbers)
    gone = [bento.tag for bento in holds if bento.id not in serving]
    removed["bentos"] = len(gone)
    return journal.planned(
        begun,
        who,
        removed,
        stored=versions.recorded(place, found.files),
        learned=[noun.id for noun in from_them.nouns],
        bentos=gone,
        serves=[bento.tag for bento in holds if bento.id in serving],
        bare=bare,
    )


def _empty(place: Place, who: Who, begun: Begun, tell: Tell) -> None:
    """Take away what every place holds, then walk them all again. IntegrityError when something is left."""
    for number, holding in enumerate(PLACES):
        if begun.removed[holding.name]:
            holding.remove(place, who, begun.commitment)
        tell("remove", number + 1)
    tags = {noun.tag: noun for noun, _ in place.catalog.recorded(Bento)}
    for tag in begun.bentos:
        learned.take_away(place, tags[tag])
    left = {
        holding.name: row
        for holding in PLACES
        if (row := next(iter(holding.find(place, who)), None)) is not None
    }
    if left:
        raise IntegrityError(
            f"something of this person is still in: {', '.join(left)}; it came in meanwhile, or a part is damaged: run this again"
        )


def _remains(place: Place, begun: Begun) -> list[str]:
    """Say what stays of a person, and why."""
    serving = learned.serving(place)
    nouns = list(map(place.catalog.get, begun.learned))
    bentos = [noun for noun in nouns if isinstance(noun, Bento)]
    said = [
        f"{bento.tag} answers as {serving[bento.id]} with what it learned from them"
        f"{', and holds rows of theirs' if bento.tag in begun.serves else ''}, until a run promotes a model that never saw them;"
        " that run was asked for"
        for bento in bentos
        if bento.id in serving
    ]
    quiet = len(nouns) - len(said)
    if quiet:
        said.append(
            f"{quiet} models and bentos that learned from them stay, marked: they hold sums over many people,"
            " and none of them defends again"
        )
    if begun.events:
        said.append(
            f"{len(begun.events)} ids of their events are named in verdicts as samples of a broken rule, or in quarantines:"
            " neither is ever changed, and the events are gone"
            + (f"; {begun.named} of them have the shop's name of the person in them" if begun.named else "")
        )
    if begun.bare:
        said.append(
            f"the hashes of {begun.bare} receipts from before receipts had a nonce: who knows all but a little of such a receipt"
            " could find the rest by trying"
        )
    if begun.removed.get("simulated shops"):
        said.append("vectors of taste that the simulator drew, without a name")
    if begun.nameless:
        said.append(
            "texts that have the shop's own name of the person, not given here and in no raw file: forget that name too"
        )
    if place.settings.online_store_url:
        said.append("what Redis keeps in snapshots and logs of its own, until it renews them")
    return [
        *said,
        "copies outside this home and its DVC remotes (backups, exports, blocks that a disk has not overwritten yet)",
    ]


def _ask(place: Place, begun: Begun) -> list[str]:
    """Ask for a retrain of every use case in which who answers learned from the person."""
    serving = learned.serving(place)
    nouns = [noun for noun in map(place.catalog.get, begun.learned) if isinstance(noun, Bento)]
    use_cases = sorted({noun.use_case for noun in nouns if noun.id in serving})
    for use_case in use_cases:
        kept = [noun.tag for noun in nouns if noun.use_case == use_case and noun.tag in begun.serves]
        retrain.ask(place, use_case, begun.commitment, kept)
    return use_cases


def _nothing(place: Place, begun: Begun, target: Path) -> dict[str, Any]:
    """Certify that nothing is held; nothing is recorded, for nothing was done."""
    body = {"version": 1, "person": begun.commitment, "begun": begun.at, "at": begun.at, "by": begun.by}
    nothing: dict[str, Any] = {
        "removed": {},
        "learned": [],
        "stored": [],
        "bentos": [],
        "segments": {},
        "remains": [],
    }
    told = certificate.signed(record.notary_of(place), {**body, **nothing})
    erasure: Erasure | None = None
    certificate.write(certificate.handed_out(place, told, begun, erasure), target)
    journal.close(place, begun)
    return {
        "erasure": None,
        "certificate": str(target),
        "text": str(target.with_suffix(".txt")),
        "retrain": {"asked": [], "started": False},
        **{name: told["certificate"][name] for name in ("person", "at", "removed", "learned", "remains")},
    }


def show(told: dict[str, Any]) -> None:
    """Say what went, what learned, what remains, and where the certificate is."""
    if told["erasure"] is None:
        terminal.OUT.print(
            f"nothing is held about this person; the certificate in {told['certificate']} says so"
        )
        return
    rows = [[name, count] for name, count in told["removed"].items() if count]
    terminal.table("Taken away", ["place", "rows or files"], rows)
    terminal.OUT.print(f"{len(told['learned'])} models and bentos learned from them", highlight=False)
    for said in told["remains"]:
        terminal.OUT.print(f"[dim]remains[/] {said}", highlight=False)
    if told["retrain"]["asked"]:
        when = "started now" if told["retrain"]["started"] else "with the next run"
        terminal.OUT.print(f"learning anew without them: {', '.join(told['retrain']['asked'])}, {when}")
    terminal.OUT.print(
        f"{told['erasure']}, certified in {told['certificate']} and {told['text']}", highlight=False
    )


def show_check(told: dict[str, Any]) -> None:
    """Say whether a certificate is genuine."""
    for fault in told["faults"]:
        terminal.OUT.print(f"[red]false[/] {fault}", highlight=False)
    where = "the ledger has it" if told["in_ledger"] else "it names no entry of the ledger"
    terminal.OUT.print(f"of {told['at']}, by {told['by']}; {where}", highlight=False)
    terminal.OUT.print(
        "[bold green]genuine[/]" if told["genuine"] else f"[bold red]{len(told['faults'])} faults[/]"
    )

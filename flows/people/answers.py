"""A person's receipts, open and sealed. Erased, each leaves its number and its hash, so that every proof stays what it was."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterfoil import segment
from counterfoil.errors import ConflictError, UnavailableError
from counterfoil.processes import Processes
from counterfoil.receipts import Receipts, draft, sealed
from counterfoil.sweep import sweep
from counterfoil.types import NOBODY
from flows import machine, sealing
from flows.away import segment_name
from flows.people.who import Who
from flows.place import Place

GATEWAY = "gateway"


def rows(place: Place, who: Who) -> Iterator[dict[str, Any]]:
    """Yield the person's receipts: under their pseudonym, and those of their sessions where nobody was named.

    Segments that left this machine come back first: what lies in the remote is held as well.
    """
    receipts = _all(place)
    closed = {path.stem for path in receipts.sealed_segments()}
    for path in receipts.open_segments():
        if path.stem not in closed:
            yield from (orjson.loads(payload) for payload in _open(path, who))
    for path in receipts.sealed_segments():
        numbers = _numbers(path, who)
        for number in sorted(numbers):
            payload = sealed.find(path, number)
            if payload is not None:
                yield orjson.loads(payload)


def remove(place: Place, who: Who, commitment: str) -> None:
    """Erase the person's receipts. An open segment is sealed first; a service of this home that writes to it is started anew.

    ConflictError when a process that this home did not start writes to one of them.
    """
    receipts = _all(place)
    sweep(place.settings.receipts, age_seconds=0)  # a sealing that was killed leaves half a file,
    draft.sweep(place.settings.receipts)  # or a draft
    theirs = {
        path.stem for path in receipts.open_segments() if _beside(path) or any(True for _ in _open(path, who))
    }
    if theirs:
        with _quiet(place, receipts, theirs):
            sealing.seal(place, quiet_seconds=0, only=theirs)
    for path in receipts.sealed_segments():
        if numbers := _numbers(path, who):
            sealed.redact(path, numbers, commitment)
    if place.remote is not None:
        for path in _redacted(place, commitment):  # also what was redacted before a kill
            if place.remote.size(name := segment_name(path)) is not None:
                place.remote.put(path, name)


def _all(place: Place) -> Receipts:
    """Return the receipts with all that left this machine back here. UnavailableError when the remote gives some of it not."""
    receipts = place.all_receipts()
    lost = place.catalog.seals().keys() - {path.stem for path in receipts.sealed_segments()}
    if lost and place.remote is not None:
        raise UnavailableError(
            f"{len(lost)} sealed segments of receipts are neither here nor in the remote, such as {min(lost)}: nobody can say"
            " what they hold of this person; see that the remote answers, then run this again"
        )
    return receipts


def redacted(place: Place, commitment: str) -> dict[str, str]:
    """Return the digest of each sealed segment from which receipts were taken out by this erasure."""
    return {path.stem: sealed.of(path).sha256 for path in _redacted(place, commitment)}


def _redacted(place: Place, commitment: str) -> Iterator[Path]:
    for path in Receipts(place.settings.receipts).sealed_segments():
        names = pq.read_schema(path).names
        if "erased" in names and commitment in pq.read_table(path, columns=["erased"])["erased"].to_pylist():
            yield path


def _beside(path: Path) -> bool:
    """Say whether a sealing was cut off before the open segment went."""
    return path.with_suffix(sealed.SUFFIX).exists()


@contextmanager
def _quiet(place: Place, receipts: Receipts, names: set[str]) -> Iterator[None]:
    """Have nobody write to these segments meanwhile: the services that do are stopped, and started again at the end.

    So is the gateway where it writes to one of them, by answers from the last good list: the supervisor starts it again.
    """
    paths = [path for path in receipts.open_segments() if path.stem in names]
    if not _written_to(paths):
        yield
        return
    services, processes = machine.services(place), Processes(place.settings.home)
    if not services and GATEWAY not in processes.running():
        raise ConflictError(
            "a process that this home did not start writes to receipts of this person; stop it, then run this again"
        )
    try:
        with machine.still(place):  # nor does the supervisor start them again before the end
            for service, _ in services:
                processes.stop(service.name)
            if _written_to(paths):
                _stop_gateway(processes)
            if _written_to(paths):
                raise ConflictError(
                    "another process writes to receipts of this person; stop it, then run this again"
                )
            yield
    finally:
        for service, release in services:
            machine.serve(place, release, int(service.url.rpartition(":")[2]))


def _stop_gateway(processes: Processes) -> None:
    """Stop the gateway, if it runs. ConflictError when nobody would start it again."""
    running = processes.running()
    if GATEWAY in running and machine.SUPERVISOR not in running:
        raise ConflictError(
            "the gateway may be writing to receipts of this person, and no supervisor runs that would start it again;"
            " run `counterfoil up` or `counterfoil down`, then this again"
        )
    processes.stop(GATEWAY)


def _written_to(paths: list[Path]) -> bool:
    for path in paths:
        with segment.done_with(path, 0) as free:
            if not free and path.exists():
                return True
    return False


def _open(path: Path, who: Who) -> Iterator[bytes]:
    try:
        for payload in draft.payloads(path):
            if _of(payload, who):
                yield payload
    except FileNotFoundError:  # sealed meanwhile
        return


def _numbers(path: Path, who: Who) -> set[int]:
    """Return the numbers of the person's receipts in a sealed segment; payloads are read only where somebody was not named."""
    with pq.ParquetFile(path) as file:
        head = file.read(columns=["number", "person"])
        found = set(head.filter(pc.equal(head["person"], who.pseudonym))["number"].to_pylist())
        if who.answered and pc.any(pc.equal(head["person"], NOBODY)).as_py():
            table = file.read(columns=["number", "person", "payload"]).filter(pc.field("person") == NOBODY)
            pairs = zip(table["number"].to_pylist(), table["payload"].to_pylist(), strict=True)
            found |= {number for number, payload in pairs if payload is not None and _of(payload, who)}
    return found


def _of(payload: bytes, who: Who) -> bool:
    if b'"person":"%b"' % who.pseudonym.encode() in payload:
        return True
    listed = b"|".join(re.escape(one.encode()) for one in who.answered)
    nobody = b'"person":"%b"' % NOBODY.encode() in payload
    return bool(listed) and nobody and re.search(rb'"session":"(?:' + listed + rb')"', payload) is not None

"""One turn of the loop as the command line asks for it: which as-of, one at a time, and only when there is anything to do."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from filelock import FileLock, Timeout

from counterfoil import canonical
from counterfoil.catalog import Unrecorded
from counterfoil.errors import ConflictError, InputError
from flows.advance import Advanced, advance
from flows.place import Place
from flows.steps import recorder, steps
from flows.use_cases import use_case


def as_of_or_latest(place: Place, as_of: str | None) -> datetime:
    """Return the moment asked for, at midnight UTC; by default the start of the last landed day, which may still be filling.

    That day is none that is still to come, as a wrong clock may have told: who learns as of tomorrow knows nobody until then.
    InputError when nothing has landed, or when the text is no moment.
    """
    from counterfoil.landing import read_manifest

    days = sorted(read_manifest(place.settings).days)
    if not days:
        raise InputError(
            "nothing has landed yet; bring data in with `counterfoil data import KIND PATH` first"
        )
    if as_of is None or as_of == "latest":
        today = datetime.now(UTC).date().isoformat()
        latest = (
            min(days[-1], today) if days[0] < today else days[-1]
        )  # a shop may be simulated in years to come
        return datetime.fromisoformat(latest).replace(tzinfo=UTC)
    try:
        moment = canonical.utc_time(as_of)
    except ValueError as fault:
        raise InputError(f"--as-of {as_of!r} is no moment ({fault}); write it as 2017-12-31") from fault
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if midnight.date().isoformat() <= days[0]:
        raise InputError(f"--as-of {as_of} lies before the first landed day {days[0]}; choose a later one")
    return midnight


@contextmanager
def only_run(place: Place, use_case_name: str) -> Iterator[None]:
    """Hold the one run that a use case may have on this installation. ConflictError when another run holds it."""
    lock = place.settings.home / f"{use_case_name}.lock"
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout as fault:
        raise ConflictError(
            f"{use_case_name} is already being advanced on this machine; wait for that run to end"
        ) from fault


def nothing_to_do(place: Place, use_case_name: str, as_of: str | None) -> tuple[Advanced, list[str]] | str:
    """Return what is known for these inputs and a reason per skipped verb, or the first verb that must run."""
    memory = recorder(place, look=True)
    try:
        advanced = advance(use_case(use_case_name), as_of_or_latest(place, as_of), steps(place, memory))
    except Unrecorded as missing:
        return missing.verb
    said = [
        f"{outcome.verb} {outcome.label}".strip()
        + f": done before with the same inputs and code ({_names(outcome.nouns)})"
        for outcome in memory.outcomes
    ]
    return advanced, said


def _names(nouns: tuple[str, ...]) -> str:
    if not nouns:
        return "nothing to name"
    return nouns[0] if len(nouns) == 1 else f"{len(nouns)} of {nouns[0].split('-')[0]}"

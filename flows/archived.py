"""The archived bento of an answer, proven to be what was released, and the child process that its code runs in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bentos.bundle import open_bundle
from bentos.replay import Replayer, has_replay, replayer
from bentos.requirements import version_of
from counterfoil.errors import CounterfoilError, IntegrityError
from counterfoil.types import Bento, Receipt, Release
from flows.place import Place
from flows.verbs import bento_folder


class NotArchived(CounterfoilError):
    """The bento of a receipt cannot be used; `kind` is the class of that."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


@contextmanager
def archived(place: Place, stub: Receipt) -> Iterator[Replayer]:
    """Start the child of the bento that gave an answer. NotArchived when it is gone, altered, or of before there was replay."""
    path = bento_folder(place, stub.bento)
    _require(place, stub, path)
    with ExitStack() as opened:
        try:
            child = opened.enter_context(replayer(path))
        except IntegrityError as fault:
            raise NotArchived("bento altered", str(fault)) from fault
        yield child


def _require(place: Place, stub: Receipt, path: Path) -> None:
    """See that the bento is there, and is byte for byte what was released. Only then its code is run."""
    release = place.catalog.get(stub.release)
    bento = place.catalog.get(release.bento) if isinstance(release, Release) else None
    if not path.is_dir():
        raise NotArchived("bento gone", f"{stub.bento} is not on this machine any more")
    try:
        found = open_bundle(path).sha256
    except (CounterfoilError, OSError, ValueError, KeyError, TypeError) as fault:
        raise NotArchived("bento altered", str(fault)) from fault
    if not isinstance(bento, Bento) or found != bento.sha256:
        raise NotArchived("bento altered", f"{stub.bento} is not what was released")
    if not has_replay(path):
        raise NotArchived("cannot replay", "code of that bento has no replay")


def other_libraries(place: Place, tag: str) -> tuple[str, ...]:
    """Say which libraries are here in another version than the bento was packaged with: its code is archived, they are not."""
    wanted = bento_folder(place, tag) / "src" / "requirements.txt"
    if not wanted.is_file():
        return ()
    named = (line.partition("==") for line in wanted.read_text().split())
    there = ((name, version, version_of(name)) for name, _, version in named)
    return tuple(
        f"{tag} was packaged with {name} {version}, and is made anew with {found or 'none'}"
        for name, version, found in there
        if found != version
    )

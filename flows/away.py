"""What goes to the DVC remote: versions that the catalog names, sealed receipts; and what may leave this machine after that."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock

from counterfoil import canonical, terminal
from counterfoil.errors import ConfigError, IntegrityError
from counterfoil.receipts import Receipts, sealed
from counterfoil.remote import Remote
from counterfoil.terminal import Stages
from flows.place import Place, open_place

Progress = Callable[[str, int], None]


def push(place: Place, progress: Progress = lambda what, count: None) -> dict[str, Any]:
    """Copy to the remote what it lacks; then let go of receipts that are older than they are to be kept here.

    ConfigError without a remote; IntegrityError when a segment is not what was sealed: it replaces nothing in the remote. While
    somebody is being forgotten this waits. Cut off anywhere, the next push goes on.
    """
    remote = _remote(place)
    with FileLock(place.settings.home / "erasing.lock"):  # nothing leaves that is being taken away
        return _pushed(place, remote, progress)


def _pushed(place: Place, remote: Remote, progress: Progress) -> dict[str, Any]:
    versions = 0
    for address in place.catalog.addresses():
        if place.store.has(address):
            versions += remote.push(address)
            progress("versions", versions)
    segments = 0
    known = place.catalog.seals()
    for path in Receipts(place.settings.receipts).sealed_segments():
        name = segment_name(path)
        if path.stem in known and remote.size(name) != path.stat().st_size:
            _require_sealed(path, known[path.stem])
            remote.put(path, name)
            segments += 1
            progress("segments", segments)
    return {"versions": versions, "segments": segments, "let_go": _let_go(place, remote, known)}


def _require_sealed(path: Path, seal: dict[str, Any]) -> None:
    """See that a segment is what was sealed, whoever was erased from it since: a damaged one would replace a sound one."""
    now = sealed.of(path)
    if (now.root, now.receipts) != (seal["root"], seal["receipts"]):
        raise IntegrityError(
            f"{path.name} is not what was sealed; it does not leave: run `counterfoil verify`"
        )


def segment_name(path: Path) -> str:
    """Return the name of a sealed segment in the remote: as below the folder of receipts."""
    return f"receipts/{path.parent.name}/{path.name}"


def _let_go(place: Place, remote: Remote, known: dict[str, dict[str, Any]]) -> int:
    """Remove sealed segments of before the days that receipts are kept here, once the remote gave back what was sealed."""
    if place.settings.receipt_days is None:
        return 0
    gone = 0
    oldest = (datetime.now(UTC) - timedelta(days=place.settings.receipt_days)).date().isoformat()
    for path in Receipts(place.settings.receipts).sealed_segments():
        if path.parent.name >= oldest or path.stem not in known:
            continue
        there = place.folder("remote", path.name)
        if not remote.get(segment_name(path), there) or canonical.file_digest(there) != canonical.file_digest(
            path
        ):
            raise IntegrityError(
                f"{path.name} in the remote is not what lies here; it stays here: run `counterfoil verify`"
            )
        there.unlink()
        path.unlink()
        gone += 1
    return gone


def _remote(place: Place) -> Remote:
    if place.remote is None:
        raise ConfigError(
            "there is no remote; name one of DVC's, or an address, in COUNTERFOIL_REMOTE (a folder will do)"
        )
    return place.remote


def push_here(stages: Stages) -> dict[str, Any]:
    """Push from the installation that the settings name."""
    with stages.stage("push"):
        return push(open_place(), lambda what, count: stages.advance("push", count))


def show(told: dict[str, Any]) -> None:
    """Say what went."""
    terminal.OUT.print(
        f"{told['versions']:,} versions and {told['segments']:,} segments of receipts went to the remote;"
        f" {told['let_go']:,} segments were let go of here",
        highlight=False,
    )

"""The inbox: files that wait in `<home>/inbox/<kind>/` to be landed, each of which ends in `done/<batch>/` or in `refused/`.

An entry is a file, or a folder for kinds that are folders. Hidden entries and those that end in `.part` are still being written
and are left alone, as is `mapping.yaml` in `inbox/mapped/`. A refused entry gets its reason beside it and stops nobody else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterfoil.errors import ContractError, InputError
from counterfoil.files import sync, write_durably
from counterfoil.importers import Source
from counterfoil.landing import Landed
from flows.place import Place

DONE, REFUSED, MAPPING = "done", "refused", "mapping.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A file or folder that waits, and the kind of the folder that it waits in; none when it lies in the inbox itself."""

    kind: str | None
    path: Path


def inbox(place: Place) -> Path:
    """Return the folder of the inbox."""
    return place.settings.home / "inbox"


def waiting(place: Place) -> list[Entry]:
    """Return what waits, by kind and name."""
    top = [path for path in _ready(inbox(place)) if path.name not in (DONE, REFUSED)]
    entries = [Entry(kind=None, path=path) for path in top if not path.is_dir()]
    for folder in top:
        inside = _ready(folder) if folder.is_dir() else []
        kept = [path for path in inside if (folder.name, path.name) != ("mapped", MAPPING)]
        entries += [Entry(kind=folder.name, path=path) for path in kept]
    return entries


def land_waiting(
    place: Place, refused: Callable[[Entry, InputError], None] = lambda _entry, _reason: None
) -> list[Landed]:
    """Land all that waits; `refused` is told of each entry that could not be read as what it should be."""
    out = []
    for entry in waiting(place):
        try:
            out.append(land_entry(place, entry))
        except InputError as reason:
            refused(entry, reason)
    return out


def land_entry(place: Place, entry: Entry) -> Landed:
    """Land one entry and move it to `done/<batch>/`; landed but not yet moved, it lands again, which changes nothing.

    InputError, most often ContractError, when it cannot be read as its kind: it then lies in `refused/`, its reason beside it.
    """
    from counterfoil.landing import land

    try:
        landed = land(_open(entry), place.settings)
    except InputError as reason:
        _refuse(place, entry, reason)
        raise
    _move(entry.path, _free(inbox(place) / DONE / landed.batch / entry.path.name))
    return landed


def _open(entry: Entry) -> Source:
    from counterfoil.importers import open_source

    if entry.kind is None:
        raise ContractError(
            f"{entry.path.name} lies in the inbox itself; put it into the folder of its kind, e.g. inbox/contract"
        )
    mapping = entry.path.parent / MAPPING
    if entry.kind != "mapped" or not mapping.is_file():
        return open_source(entry.kind, entry.path)
    _require_own_files(entry.path, mapping)
    return open_source(entry.kind, entry.path, mapping=mapping)


def _require_own_files(path: Path, mapping: Path) -> None:
    """A mapping that names files by a pattern would reach from one waiting file to its neighbours."""
    from counterfoil.importers.mapping import read_mapping

    how = read_mapping(mapping)
    named = [t.files for t in (how.events, how.items, how.people) if t is not None and t.files is not None]
    if named and not path.is_dir():
        raise ContractError(
            f"the mapping names files ({', '.join(named)}), so {path.name} cannot stand alone; put a folder of them there"
        )


def _ready(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in sorted(folder.iterdir()) if not p.name.startswith(".") and p.suffix != ".part"]


def _refuse(place: Place, entry: Entry, reason: InputError) -> None:
    """Write the reason first: killed in between, the next run writes it again, and no file is refused without one."""
    target = _free(inbox(place) / REFUSED / entry.path.name)
    said = f"{entry.kind or 'no kind'}: {reason}\n"
    write_durably(target.with_name(target.name + ".reason.txt"), said.encode())
    _move(entry.path, target)


def _free(path: Path) -> Path:
    """Return the path, or the first of path.2, path.3 .. that nothing has: what came in is never overwritten."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}.{number}")
    return free


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)
    sync(target.parent)

"""All or nothing: files of a batch are staged, one commit file makes them count, then they are renamed into place.

Killed before the commit file, nothing has happened and the staged files are thrown away; killed after it, the next start
finishes the renames. Either way the bytes are those of a run that was not killed.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import filelock
import orjson

from counterfoil.errors import ConflictError
from counterfoil.files import write_durably
from counterfoil.landing import manifest as manifests
from counterfoil.landing import origin as origins
from counterfoil.landing.manifest import Batch, DayPart, Manifest
from counterfoil.landing.origin import Origin
from counterfoil.landing.progress import Progress, silent
from counterfoil.pseudonym import fingerprint, require_same
from counterfoil.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """What a batch changes: its record, the parts that it wrote, files to move into place and to remove.

    `key` is the fingerprint of the key of its pseudonyms, `origin` what the batch brought; a commit file of an earlier version
    has none. `gone` are days of which an erasure left nothing.
    """

    batch: Batch
    days: dict[str, DayPart]
    items: DayPart | None = None
    people: DayPart | None = None
    moves: tuple[str, ...] = ()
    removals: tuple[str, ...] = ()
    key: str | None = None
    origin: Origin | None = None
    gone: tuple[str, ...] = ()


@contextlib.contextmanager
def locked(settings: Settings, progress: Progress = silent) -> Iterator[None]:
    """Hold the landing folder alone, with what an earlier run left half done mended first.

    Raises ConflictError at once when another process holds it.
    """
    settings.landing.mkdir(parents=True, exist_ok=True)
    path = settings.landing / ".lock"
    try:
        with filelock.FileLock(path, timeout=0):
            recover(settings, progress)
            yield
    except filelock.Timeout as fault:
        raise ConflictError(
            f"another import holds {path}; wait until it is done and run this again"
        ) from fault


def read_manifest(settings: Settings) -> Manifest:
    """Return the manifest of the landing folder; an empty one when nothing has landed.

    An import that died after its commit is finished first, as a journal is: files and manifest agree. Raises IntegrityError
    when the manifest's file is none.
    """
    if any((settings.landing / "staging").glob("*/commit.json")):
        with contextlib.suppress(ConflictError), locked(settings):  # held: an import is at it right now
            pass
    return manifests.load(settings)


def load_for_intake(settings: Settings) -> Manifest:
    """Return the manifest, inside `locked`, to land more: its key is ours. One that names no key yet takes ours down.

    ConfigError when what lies there has pseudonyms by another key.
    """
    manifest = manifests.load(settings)
    require_same(manifest.key, settings.pseudonym_key, str(settings.landing))
    if manifest.key is None and manifest.batches:
        manifest = replace(manifest, key=fingerprint(settings.pseudonym_key))
        write_durably(manifests.place(settings), manifests.encode(manifest))
    return manifest


def open_stage(settings: Settings, batch: str) -> Path:
    """Return a new folder for the batch's files."""
    folder = settings.landing / "staging" / batch
    folder.mkdir(parents=True)
    return folder


def staged(folder: Path, name: str) -> Path:
    """Return where a file waits that will lie at `name` below the landing folder: flat, since folders are slow to remove."""
    return folder / name.replace("/", "~")


def commit(settings: Settings, folder: Path, what: Commit, progress: Progress) -> None:
    """Make the staged batch count, and move it into place."""
    progress("commit", 0)
    write_durably(folder / "commit.json", orjson.dumps(asdict(what), option=orjson.OPT_SORT_KEYS))
    progress("committed", 0)
    _finish(settings, folder, what, progress)


def recover(settings: Settings, progress: Progress = silent) -> None:
    """Finish staged batches that were committed and throw away those that were not."""
    root = settings.landing / "staging"
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        path = folder / "commit.json"
        if path.exists():
            _finish(settings, folder, _decode(path.read_bytes()), progress)
        else:
            shutil.rmtree(folder)


def _finish(settings: Settings, folder: Path, what: Commit, progress: Progress) -> None:
    before = manifests.load(settings)
    if before.batch(what.batch.digest) is None:
        _move(settings, folder, what, progress)
        origins.write(settings, what.origin or origins.of_rewritten(what.batch, what.days, before))
        after = before.plus(what.batch, what.days, what.items, what.people, what.key, what.gone)
        write_durably(manifests.place(settings), manifests.encode(after))
        progress("manifest", 0)
    shutil.rmtree(folder)
    progress("done", 0)


def _move(settings: Settings, folder: Path, what: Commit, progress: Progress) -> None:
    for name in what.moves:
        waiting, target = staged(folder, name), origins.place(settings, name)
        # Not there any more: an earlier run moved it before it was killed.
        if waiting.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            waiting.replace(target)
            progress("move", 0)
    for name in what.removals:
        (settings.landing / name).unlink(missing_ok=True)
        progress("remove", 0)
    # Journals keep the order of renames: when the manifest, synced after them, is on the disk, so are they.


def _decode(content: bytes) -> Commit:
    plain = orjson.loads(content)
    batch = manifests.batch_of(plain["batch"])
    origin = origins.decode(plain["origin"]) if plain.get("origin") else None
    return Commit(
        batch=batch,
        days={day: DayPart(**part) for day, part in plain["days"].items()},
        items=manifests.part_of(plain["items"]),
        people=manifests.part_of(plain["people"]),
        moves=tuple(plain["moves"]),
        removals=tuple(plain["removals"]),
        key=plain.get("key"),
        origin=origin if "origin" in plain else origins.unknown(batch),
        gone=tuple(plain.get("gone", ())),
    )

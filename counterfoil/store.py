"""THE store of dataset and model versions: DVC's cache behind two verbs, `put` and `fetch`.

DVC addresses content by MD5, which is no security digest; so every put also returns a manifest of SHA-256 per file, and every
fetch is checked against one. What is stored is never changed; a put of the same bytes is free.
"""

import hashlib
import os
import shutil
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from counterfoil import canonical
from counterfoil.errors import ConflictError, IntegrityError, UnavailableError, UnknownError
from counterfoil.remote import Remote

CONFIG = "[core]\n    no_scm = True\n    analytics = false\n    check_update = false\n    autostage = false\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A stored folder: DVC's address (MD5 of its tree, ending in .dir), SHA-256 per file, and the digest of that manifest."""

    address: str
    manifest: dict[str, str]
    sha256: str
    bytes: int


def manifest_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` by relative path. IntegrityError on a link, a pipe or a socket."""
    found = sorted(folder.rglob("*"))
    for path in found:
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise IntegrityError(
                f"{path} is no plain file; a version holds plain files only: replace it by its content"
            )
    return {
        path.relative_to(folder).as_posix(): canonical.file_digest(path) for path in found if path.is_file()
    }


class Store:
    """Folders by content, in the DVC repository at `root` (made on first use); what is missing is fetched from `remote`."""

    def __init__(self, root: Path, remote: Remote | None = None):
        self.root, self.remote = root, remote

    def put(self, folder: Path) -> Stored:
        """Store the folder's files and return where they are; a damaged copy of them in the store is replaced.

        IntegrityError when the folder is empty, ConflictError when it changes meanwhile, UnavailableError when the disk refuses.
        """
        manifest = manifest_of(folder)
        if not manifest:
            raise IntegrityError(f"{folder} is empty; there is nothing to store")
        size = sum((folder / name).stat().st_size for name in manifest)
        with self.locked():
            address = self._transfer(folder, manifest)
            if self.check(address, manifest):
                raise ConflictError(
                    f"{folder} changed while it was being stored; let its writer end, then run again"
                )
            _sync([self._object(address), *self._files(address).values()])
        return Stored(address=address, manifest=manifest, sha256=canonical.sha256(manifest), bytes=size)

    def fetch(self, address: str, sha256: str, into: Path) -> Path:
        """Lay the stored folder out at `into` and return it; a copy that is already there and sound is kept.

        UnknownError when the store has no such address; IntegrityError when the bytes are not those that were recorded.
        """
        if _is(into, sha256):
            return into
        with self.locked():
            return into if _is(into, sha256) else self._lay_out(address, sha256, into)

    def _lay_out(self, address: str, sha256: str, into: Path) -> Path:
        if self.remote is not None and not self.has(address):
            self.remote.pull(address)
        files = self._files(address)
        fresh = into.with_name(f"{into.name}.fetching")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, path in files.items():
            target = fresh / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        found = canonical.sha256(manifest_of(fresh))
        if found != sha256:
            shutil.rmtree(fresh)
            raise IntegrityError(
                f"{address} in the store is not what was recorded (SHA-256 manifest {found[:12]}, recorded {sha256[:12]});"
                " restore it from a remote or another machine, then run `counterfoil verify`"
            )
        shutil.rmtree(into, ignore_errors=True)
        fresh.rename(into)
        return into

    def check(self, address: str, manifest: dict[str, str], erased: Collection[str] = ()) -> list[str]:
        """Return one sentence per file of the stored folder that is missing or altered; an empty list when all is sound.

        The files `erased` must not be there any more.
        """
        try:
            files = self._files(address, erased)
        except (UnknownError, IntegrityError) as fault:
            return [str(fault)]
        faults = [f"{name} is missing from {address}" for name in manifest.keys() - files.keys()]
        faults += [
            f"{name} of {address} was erased, and is in the store again"
            for name in erased
            if files[name].is_file()
        ]
        for name, path in files.items():
            if name not in erased and manifest.get(name) != canonical.file_digest(path):
                faults.append(f"{name} in {address} was altered")
        return sorted(faults)

    def files(self, address: str) -> dict[str, Path]:
        """Return where each file of a stored folder lies that is there, to be read and never written; bytes are not checked.

        Equal files of many versions are one. UnknownError when the list is missing, IntegrityError when it was altered.
        """
        return {name: path for name, path in self._listed(address).items() if path.is_file()}

    def has(self, address: str) -> bool:
        """Say whether every file of the stored folder is in the cache (by name only; `check` reads the bytes)."""
        try:
            self._files(address)
        except (UnknownError, IntegrityError):
            return False
        return True

    def _files(self, address: str, erased: Collection[str] = ()) -> dict[str, Path]:
        """Return the cache's file per relative path. UnknownError when one is lost that was not erased."""
        files = self._listed(address)
        for name, path in files.items():
            if not path.is_file() and name not in erased:
                raise UnknownError(
                    f"the store lost {name} of {address}; pull it (`dvc pull`) or run the loop again"
                )
        return files

    def _listed(self, address: str) -> dict[str, Path]:
        """Return the cache's file per relative path, read from the tree object alone: no DVC import on this hot way."""
        tree = self._object(address)
        if not tree.is_file():
            raise UnknownError(f"the store has no {address}; pull it (`dvc pull`) or run the loop again")
        raw = tree.read_bytes()
        if _md5(raw) != address.removesuffix(".dir"):
            raise IntegrityError(f"the file list of {address} was altered; restore it from a remote")
        return {_inside(entry["relpath"]): self._object(entry["md5"]) for entry in _json(raw)}

    def _transfer(self, folder: Path, manifest: dict[str, str]) -> str:
        """Have DVC address the folder and copy what is missing into its cache; returns the address."""
        from dvc_data.hashfile.build import build
        from dvc_data.hashfile.db.local import LocalHashFileDB
        from dvc_data.hashfile.transfer import transfer
        from dvc_objects.fs.local import localfs

        cache = LocalHashFileDB(localfs, str(self._cache), hash_name="md5")
        staging, _, tree = build(cache, str(folder), localfs, "md5")
        address = str(tree.hash_info.value)
        self._drop_damaged(address, {"/".join(key): found.value for key, _, found in tree}, manifest)  # type: ignore[attr-defined]
        failed = transfer(staging, cache, {tree.hash_info}, shallow=False).failed
        if failed:
            raise UnavailableError(
                f"{len(failed)} files of {folder} could not be stored in {self._cache}; see whether the disk is full"
            )
        return address

    def _drop_damaged(self, address: str, files: dict[str, str], manifest: dict[str, str]) -> None:
        """Remove cached files that are not what their name says: DVC trusts a read-only file in its cache unread."""
        for name, file in files.items():
            path = self._object(file)
            if path.is_file() and canonical.file_digest(path) != manifest.get(name):
                path.unlink()
        tree = self._object(address)
        if tree.is_file() and _md5(tree.read_bytes()) != address.removesuffix(".dir"):
            tree.unlink()

    @property
    def _cache(self) -> Path:
        return self.root / ".dvc" / "cache" / "files" / "md5"

    def _object(self, address: str) -> Path:
        return self._cache / address[:2] / address[2:]

    def locked(self) -> FileLock:
        """Return the lock of this store, with its DVC repository made; one writer at a time on this machine."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.root / ".dvc-store.lock")
        if not (self.root / ".dvc").is_dir():
            with lock:
                self._make_repository()
        return lock

    def _make_repository(self) -> None:
        """Make a DVC repository in one rename: a half-made one would stop every later run."""
        if (self.root / ".dvc").is_dir():
            return
        fresh = self.root / ".dvc.part"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        (fresh / "config").write_text(CONFIG)
        (fresh / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
        fresh.rename(self.root / ".dvc")


def _is(folder: Path, sha256: str) -> bool:
    return folder.is_dir() and canonical.sha256(manifest_of(folder)) == sha256


def _inside(name: str) -> str:
    """Return a relative path as it is. IntegrityError when it would lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise IntegrityError(f"the store lists a file {name!r} outside its folder; restore it from a remote")
    return name


def _md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


def _sync(paths: Iterable[Path]) -> None:
    """Have the disk hold these files and their names before anything refers to them."""
    for path in {place for file in paths for place in (file, file.parent)}:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _json(raw: bytes) -> list[dict[str, str]]:
    import orjson

    entries: list[dict[str, str]] = orjson.loads(raw)
    return entries

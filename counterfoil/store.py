"""THE store of dataset and model versions: DVC's cache behind two verbs, `put` and `fetch`.

DVC addresses content by MD5, which is no security digest; so every put also returns a manifest of SHA-256 per file, and every
fetch is checked against one. What is stored is never changed; a put of the same bytes is free.
"""

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from counterfoil import canonical
from counterfoil.errors import IntegrityError, UnknownError


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """A stored folder: DVC's address (MD5 of its tree, ending in .dir), SHA-256 per file, and the digest of that manifest."""

    address: str
    manifest: dict[str, str]
    sha256: str
    bytes: int


def manifest_of(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` by relative path. IntegrityError on a symbolic link."""
    files = sorted(path for path in folder.rglob("*") if not path.is_dir())
    for path in files:
        if path.is_symlink():
            raise IntegrityError(
                f"{path} is a symbolic link; a version holds plain files only: replace it by its content"
            )
    return {path.relative_to(folder).as_posix(): canonical.file_digest(path) for path in files}


class Store:
    """Folders by content, in the DVC repository at `root` (made on first use)."""

    def __init__(self, root: Path):
        self.root = root

    def put(self, folder: Path) -> Stored:
        """Store the folder's files and return where they are. IntegrityError when the folder is empty."""
        manifest = manifest_of(folder)
        if not manifest:
            raise IntegrityError(f"{folder} is empty; there is nothing to store")
        with self._cache() as cache:
            from dvc_data.hashfile.build import build
            from dvc_data.hashfile.transfer import transfer
            from dvc_objects.fs.local import localfs

            staging, _, tree = build(cache, str(folder), localfs, "md5")
            transfer(staging, cache, {tree.hash_info}, shallow=False)
            address = str(tree.hash_info.value)
        size = sum((folder / name).stat().st_size for name in manifest)
        return Stored(address=address, manifest=manifest, sha256=canonical.sha256(manifest), bytes=size)

    def fetch(self, address: str, sha256: str, into: Path) -> Path:
        """Lay the stored folder out at `into` and return it; a copy that is already there and sound is kept.

        UnknownError when the store has no such address; IntegrityError when the bytes are not those that were recorded.
        """
        if into.is_dir() and canonical.sha256(manifest_of(into)) == sha256:
            return into
        fresh = into.with_name(f"{into.name}.fetching-{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, path in self._files(address).items():
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

    def check(self, address: str, manifest: dict[str, str]) -> list[str]:
        """Return one sentence per file of the stored folder that is missing or altered; an empty list when all is sound."""
        try:
            files = self._files(address)
        except (UnknownError, IntegrityError) as fault:
            return [str(fault)]
        faults = [f"{name} is missing from {address}" for name in manifest.keys() - files.keys()]
        for name, path in files.items():
            if manifest.get(name) != canonical.file_digest(path):
                faults.append(f"{name} in {address} was altered")
        return sorted(faults)

    def has(self, address: str) -> bool:
        """Say whether every file of the stored folder is in the cache (by name only; `check` reads the bytes)."""
        try:
            self._files(address)
        except (UnknownError, IntegrityError):
            return False
        return True

    def _files(self, address: str) -> dict[str, Path]:
        """Return the cache's file per relative path, read from the tree object alone: no DVC import on this hot way."""
        tree = self._object(address)
        if not tree.is_file():
            raise UnknownError(f"the store has no {address}; pull it (`dvc pull`) or run the loop again")
        raw = tree.read_bytes()
        if hashlib.md5(raw, usedforsecurity=False).hexdigest() != address.removesuffix(".dir"):
            raise IntegrityError(f"the file list of {address} was altered; restore it from a remote")
        files = {entry["relpath"]: self._object(entry["md5"]) for entry in _json(raw)}
        for name, path in files.items():
            if not path.is_file():
                raise UnknownError(
                    f"the store lost {name} of {address}; pull it (`dvc pull`) or run the loop again"
                )
        return files

    def _object(self, address: str) -> Path:
        return self.root / ".dvc" / "cache" / "files" / "md5" / address[:2] / address[2:]

    @contextmanager
    def _cache(self) -> Iterator[Any]:
        """Open DVC's object database; one writer at a time on this machine, since DVC itself fails instead of waiting."""
        from dvc.repo import Repo

        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".dvc-store.lock"):
            if not (self.root / ".dvc").is_dir():
                with redirect_stdout(sys.stderr):  # it says so on stdout, which belongs to --json
                    Repo.init(str(self.root), no_scm=True).close()
            repo = Repo(str(self.root))
            try:
                yield repo.cache.local
            finally:
                repo.close()


def _json(raw: bytes) -> list[dict[str, str]]:
    import orjson

    entries: list[dict[str, str]] = orjson.loads(raw)
    return entries

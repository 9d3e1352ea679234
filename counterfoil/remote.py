"""The DVC remote: versions by their address, and beside them files by name (sealed receipts, signed heads).

DVC's own file systems do the work, so any kind of remote that DVC knows will do: a folder, S3, GS, Azure, SSH.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from counterfoil.errors import ConfigError, UnavailableError

BESIDE = "counterfoil"
NAME = "counterfoil"


class Remote:
    """One remote of the DVC repository at `root`: named in its configuration, or given by its address.

    Nothing is opened before it is used. Whatever it cannot do is UnavailableError; a name that DVC does not know ConfigError.
    """

    def __init__(self, root: Path, named: str) -> None:
        self.root, self.named = root, named

    @property
    def by_address(self) -> bool:
        """Whether it is given by its address: DVC's configuration then need not name it."""
        return "/" in self.named

    @property
    def database(self) -> Any:
        """DVC's object database of the versions that lie there."""
        with self._said("be opened"):
            return self._opened.odb

    def push(self, address: str) -> bool:
        """Copy a stored folder with its files into the remote; say whether anything of it was missing there."""
        return self._transfer(address, lambda: (self._local, self._opened.odb))

    def pull(self, address: str) -> bool:
        """Copy a folder from the remote into the cache; False when the remote has nothing of that address."""
        with self._said(f"fetch {address}"):
            if not self._opened.fs.exists(self._opened.odb.oid_to_path(address)):
                return False
        self._transfer(address, lambda: (self._opened.odb, self._local))
        return True

    def drop(self, objects: list[str]) -> None:
        """Remove objects by their addresses; one that is not there is gone already."""
        with self._said("remove versions"):
            for address in objects:
                path = self._opened.odb.oid_to_path(address)
                if self._opened.fs.exists(path):
                    self._opened.fs.remove(path)

    def has(self, address: str) -> bool:
        """Say whether the remote has an object."""
        with self._said(f"look for {address}"):
            return bool(self._opened.fs.exists(self._opened.odb.oid_to_path(address)))

    def put(self, path: Path, name: str) -> None:
        """Lay a file down under a name, whole, in place of one that was there."""
        with self._said(f"take {name}"):
            target = self._path(name)
            self._opened.fs.makedirs(self._opened.fs.parent(target), exist_ok=True)
            self._opened.fs.put_file(str(path), target)

    def write(self, content: bytes, name: str) -> None:
        """Lay down bytes under a name."""
        with self._said(f"take {name}"):
            target = self._path(name)
            self._opened.fs.makedirs(self._opened.fs.parent(target), exist_ok=True)
            self._opened.fs.pipe_file(target, content)

    def get(self, name: str, into: Path) -> bool:
        """Fetch a file by name; False when there is none."""
        with self._said(f"give {name}"):
            if not self._opened.fs.exists(self._path(name)):
                return False
            into.parent.mkdir(parents=True, exist_ok=True)
            half = into.with_name(f"{into.name}.fetching")
            self._opened.fs.get_file(self._path(name), str(half))
            half.replace(into)
            return True

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        with self._said(f"give {name}"):
            return bytes(self._opened.fs.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """Return the bytes of a file, None when there is none."""
        with self._said(f"look for {name}"):
            path = self._path(name)
            return int(self._opened.fs.size(path)) if self._opened.fs.exists(path) else None

    def names(self, folder: str) -> list[str]:
        """Return the names of the files below a folder, sorted."""
        with self._said(f"list {folder}"):
            fs, top = self._opened.fs, self._path(folder)
            if not fs.exists(top):
                return []
            return sorted(f"{folder}/{fs.relpath(path, top)}" for path in fs.find(top))

    def erase(self, name: str) -> None:
        """Remove a file; one that is not there is gone already."""
        with self._said(f"remove {name}"):
            if self._opened.fs.exists(self._path(name)):
                self._opened.fs.remove(self._path(name))

    def _transfer(self, address: str, ends: Callable[[], tuple[Any, Any]]) -> bool:
        from dvc_data.hashfile.hash_info import HashInfo
        from dvc_data.hashfile.transfer import transfer

        with self._said(f"move {address}"):
            source, target = ends()
            done = transfer(source, target, {HashInfo("md5", address)}, shallow=False)
            if done.failed:
                raise OSError(f"{len(done.failed)} files failed")
            return bool(done.transferred)

    def _path(self, name: str) -> str:
        return str(self._opened.fs.join(self._opened.path, BESIDE, *name.split("/")))

    @cached_property
    def _local(self) -> Any:
        from dvc_data.hashfile.db.local import LocalHashFileDB
        from dvc_objects.fs.local import localfs

        return LocalHashFileDB(localfs, str(self.root / ".dvc" / "cache" / "files" / "md5"), hash_name="md5")

    @cached_property
    def _opened(self) -> Any:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        given = {"remote": {NAME: {"url": self.named}}, "core": {"remote": NAME}} if self.by_address else None
        try:
            repository = Repo(str(self.root), config=given)
            return repository.cloud.get_remote(NAME if self.by_address else self.named)
        except DvcException as fault:
            raise ConfigError(
                f"COUNTERFOIL_REMOTE is {self.named!r}, but DVC says: {fault}; name a remote of `dvc remote list`, or an address"
            ) from fault

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Turn whatever a remote's client raises into one sentence of ours."""
        try:
            yield
        except (ConfigError, UnavailableError):
            raise
        except Exception as fault:  # every kind of remote has errors of its own
            raise UnavailableError(
                f"the remote {self.named} cannot {what} ({fault}); mend it, then run again: nothing is lost here"
            ) from fault

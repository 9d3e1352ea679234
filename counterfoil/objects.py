"""What lies in the store's cache and in its remotes, object by object: for who must find or remove single files of versions.

Keeping and fetching whole versions is counterfoil/store.py. An object is a file's bytes under their MD5; a version's list of
files is an object too, whose name ends in `.dir`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from counterfoil.errors import UnavailableError
from counterfoil.remote import Remote

TREE = ".dir"


@dataclass(frozen=True, kw_only=True)
class Objects:
    """The objects of one place: the cache of this machine, or a remote."""

    name: str
    database: Any  # DVC's object database

    def all(self) -> set[str]:
        """Return the names of all objects. UnavailableError when the place does not answer."""
        try:
            return set(self.database.all())
        except FileNotFoundError:
            return set()
        except Exception as fault:  # each kind of remote has errors of its own
            raise self._silent(fault) from fault

    def files(self, address: str) -> dict[str, str]:
        """Return the object per relative path of a version that lies here."""
        with self.open(address) as file:
            return {entry["relpath"]: entry["md5"] for entry in orjson.loads(file.read())}

    def open(self, name: str) -> BinaryIO:
        """Open an object. UnavailableError when the place does not answer."""
        try:
            opened: BinaryIO = self.database.fs.open(self.database.oid_to_path(name), "rb")
        except Exception as fault:
            raise self._silent(fault) from fault
        return opened

    def drop(self, name: str) -> None:
        """Remove an object; one that is gone already is no fault. UnavailableError when the place does not let it go."""
        try:
            self.database.fs.remove(self.database.oid_to_path(name))
        except FileNotFoundError:
            return
        except Exception as fault:
            raise self._silent(fault) from fault

    def _silent(self, fault: Exception) -> UnavailableError:
        return UnavailableError(
            f"{self.name} of the store does not answer ({type(fault).__name__}: {fault}); mend that, then run this again"
        )


def places(root: Path, remote: Remote | None = None) -> tuple[Objects, ...]:
    """Return the cache of the DVC repository at `root`, each remote that its configuration names, one given by its address."""
    if not (root / ".dvc").is_dir():
        return ()
    from dvc.repo import Repo
    from dvc_data.hashfile.db.local import LocalHashFileDB
    from dvc_objects.fs.local import localfs

    cache = LocalHashFileDB(localfs, str(root / ".dvc" / "cache" / "files" / "md5"), hash_name="md5")
    with Repo(str(root)) as repo:
        remotes = {name: repo.cloud.get_remote_odb(name) for name in repo.config["remote"]}
    return (
        Objects(name="the cache", database=cache),
        *(
            Objects(name=f"the remote {name}", database=database)
            for name, database in sorted(remotes.items())
        ),
        *(
            ()
            if remote is None or not remote.by_address
            else (Objects(name="the remote", database=remote.database),)
        ),
    )

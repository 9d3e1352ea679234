"""A folder's manifest: the SHA-256 of every file in it. Written once, checked before anything in the folder is parsed.

Not here: who may have written it. A manifest proves that bytes are the bytes that were packaged; the catalog and the
release pointer say which manifest that is.
"""

import os
import stat
from pathlib import Path

import orjson

from counterfoil import canonical
from counterfoil.errors import IntegrityError

NAME = "manifest.json"


def write(folder: Path) -> str:
    """Write `manifest.json` into the folder and return the SHA-256 of its bytes; the same files give the same one."""
    content = canonical.encode({"files": digests(folder)})
    (folder / NAME).write_bytes(content)
    return canonical.file_digest(folder / NAME)


def verify(folder: Path, *, besides: frozenset[str] = frozenset()) -> str:
    """Check every file against the manifest and return the manifest's SHA-256.

    IntegrityError names the first file that is missing, altered, not listed, or no plain file. `besides` are the names
    of files that others keep in the folder and that nobody here reads.
    """
    path = folder / NAME
    found = digests(folder, besides=besides)
    if not path.is_file():
        raise IntegrityError(f"{path} is missing, so nothing in that folder can be trusted; package it again")
    listed = _listed(path)
    for name in sorted(listed.keys() | found.keys()):
        _compare(folder / name, listed.get(name), found.get(name))
    return canonical.file_digest(path)


def digests(folder: Path, *, besides: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return the SHA-256 of every file below the folder by its relative path, the manifest itself left out.

    IntegrityError when there is a symbolic link, a device, a pipe, or no folder at all.
    """
    if folder.is_symlink() or not folder.is_dir():
        raise IntegrityError(f"{folder} is not a folder; package the bento again")
    names = sorted(path.relative_to(folder).as_posix() for path in _files(folder))
    return {
        name: canonical.file_digest(folder / name) for name in names if name != NAME and name not in besides
    }


def _listed(path: Path) -> dict[str, str]:
    """Read a manifest; IntegrityError when it is none."""
    try:
        files = orjson.loads(path.read_bytes())["files"]
        return {str(name): str(digest) for name, digest in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as fault:
        raise IntegrityError(f"{path} is not a manifest ({fault}); package the bento again") from fault


def _files(folder: Path) -> list[Path]:
    out: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                out.extend(_files(Path(entry.path)))
            elif stat.S_ISREG(mode):
                out.append(Path(entry.path))
            else:
                raise IntegrityError(
                    f"{entry.path} is a link or a device, not a file; remove it or package again"
                )
    return out


def _compare(path: Path, listed: str | None, found: str | None) -> None:
    if listed == found:
        return
    if found is None:
        raise IntegrityError(f"{path} is missing, though the manifest lists it; restore it or package again")
    if listed is None:
        raise IntegrityError(f"{path} is not in the manifest; remove it or package again")
    raise IntegrityError(
        f"{path} was altered: its SHA-256 is {found[:16]}.., the manifest says {listed[:16]}..; restore it or package again"
    )

"""The release pointer: the small JSON file that says which release a serving process stands for, read anew when it changes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from counterfoil.errors import ConfigError

log = logging.getLogger(__name__)
FILE = "release.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """Which release serves: its id, its epoch (a later release has a higher one), the tag of its bento."""

    release: str
    epoch: int
    bento: str


def pointer(content: dict[str, Any]) -> Released:
    """Read a pointer `{"release": ID, "epoch": N, "bento": TAG}`. ConfigError names everything that is wrong with it."""
    wanted: dict[str, type] = {"release": str, "epoch": int, "bento": str}
    faults = [
        f"{name} is {content.get(name)!r}, not {'a whole number' if kind is int else 'a text'}"
        for name, kind in wanted.items()
        if type(content.get(name)) is not kind
    ]
    faults += [f"{name} is unknown" for name in sorted(content.keys() - wanted.keys())]
    if faults:
        raise ConfigError(
            f"the release pointer is wrong: {'; '.join(faults)}; write release, epoch and bento into it"
        )
    return Released(**content)


def read(path: Path) -> Released:
    """Read a pointer from a file. ConfigError when there is none or it is wrong."""
    try:
        content = orjson.loads(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise ConfigError(
            f"{path} is no release pointer ({fault}); run the loop, or name another file"
        ) from fault
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no JSON object; write release, epoch and bento into it")
    return pointer(content)


class Pointer:
    """The release that a process stands for: that of the file, as long as it names the same bento.

    A bento never changes, the release that it serves for does: shadow, then canary, then champion. What is wrong with a changed
    file goes to the log once, and the last good release stays.
    """

    def __init__(self, released: Released, path: Path | None = None) -> None:
        self.released, self.path = released, path
        self._seen: tuple[int, int, int] | None = None  # so that a change while the bento was loaded is seen

    def now(self) -> Released:
        """Return the release as of now; looks at the file's stamp each time, and into it when that changed."""
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._take()
        return self.released

    def _take(self) -> None:
        assert self.path is not None
        try:
            found = read(self.path)
        except ConfigError as fault:
            log.error("the release stays %s: %s", self.released.release, fault)
            return
        if found.bento != self.released.bento:
            log.error(
                "the release stays %s: the pointer names %s, but %s serves here; start another process for that one",
                self.released.release,
                found.bento,
                self.released.bento,
            )
            return
        self.released = found

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = None if self.path is None else self.path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)

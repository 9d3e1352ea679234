"""The release pointer: the small JSON file that says which release a serving process stands for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from counterfoil.errors import ConfigError

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

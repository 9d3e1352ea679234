"""Which files an artefact may hold, told by name and by first bytes, without parsing them. No format here can run code."""

from collections.abc import Callable
from pathlib import Path

from counterfoil.errors import IntegrityError

HEAD_BYTES = 16
# XGBoost's UBJSON begins with an object, whose first key follows with its length.
HEADS: dict[str, Callable[[bytes], bool]] = {
    ".json": lambda head: head.lstrip()[:1] in (b"{", b"["),
    ".ubj": lambda head: head[:1] == b"{" and head[1:2] in b"LiIUl$#",
    ".npy": lambda head: head.startswith(b"\x93NUMPY"),
    ".parquet": lambda head: head.startswith(b"PAR1"),
    ".arrow": lambda head: head.startswith(b"ARROW1"),
    ".safetensors": lambda head: head[8:9] == b"{",
}


def refuse_unknown(folder: Path, *, besides: frozenset[str] = frozenset()) -> None:
    """Raise IntegrityError, naming the file, when one is of no allowed format or does not begin like what it is called."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.relative_to(folder).as_posix() in besides:
            continue
        if path.suffix not in HEADS:
            raise IntegrityError(
                f"{path} has the suffix {path.suffix!r}; an artefact may hold {', '.join(sorted(HEADS))} only"
            )
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not HEADS[path.suffix](head):
            raise IntegrityError(
                f"{path} does not begin like a {path.suffix} file but with {head[:6]!r}; fit the model again"
            )

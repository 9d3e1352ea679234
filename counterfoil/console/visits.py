"""Who came in, who was refused, who exported, which accounts changed: a line of JSON each, beside the accounts.

Whom an export is of is never written: an erasure would have to find it again. The ledger has what changed models or people.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import orjson

from counterfoil import canonical

FILE = "visits.jsonl"


def note(folder: Path, did: str, by: str | None, **more: str) -> None:
    """Append what somebody did, now; `by` is an account's name, None for a name that no account has."""
    line = {"at": canonical.utc_text(datetime.now(UTC)), "did": did, "by": by, **more}
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(
            descriptor, orjson.dumps(line) + b"\n"
        )  # one write, so that lines of two processes never mix
    finally:
        os.close(descriptor)

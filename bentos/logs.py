"""Structured logs of what serves: a line of JSON each, to standard error."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any

import orjson

from counterfoil import canonical

HOLDS = ("request", "path", "status", "ms", "release", "key", "kind")


class Lines(logging.Formatter):
    """A record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "at": canonical.utc_text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "from": record.name,
            "says": record.getMessage(),
        }
        line |= {name: record.__dict__[name] for name in HOLDS if name in record.__dict__}
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def begin(level: int = logging.WARNING) -> None:
    """Send what this process logs, from that level on, to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=level, handlers=[handler], force=True)

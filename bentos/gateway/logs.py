"""Structured logs: a line of JSON each, every error and a sample of the rest. Never a person's name, nor an address."""

import logging
import random
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


class AccessLog:
    """What is written of requests: all that failed here or behind, and a share of the others."""

    def __init__(self, share: float) -> None:
        self.share = share
        self.log = logging.getLogger("bentos.gateway.access")

    def wants(self, status: int) -> bool:
        """Say whether a request with this status is written down."""
        return status >= 500 or (self.share > 0 and random.random() < self.share)

    def note(self, status: int, **more: Any) -> None:
        """Write one request down."""
        level = logging.ERROR if status >= 500 else logging.INFO
        self.log.log(level, "answered", extra={"status": status, **more})


def begin() -> None:
    """Send the logs of this process to standard error, as lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)

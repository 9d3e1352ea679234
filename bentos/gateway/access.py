"""What the gateway writes of requests: every error and a sample of the rest. Never a person's name, nor an address."""

import logging
import random
from typing import Any


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

"""The routes as they change: the file is looked at ten times a second, and read when it is another one."""

import logging
from collections.abc import Callable
from pathlib import Path

from bentos import routes
from bentos.routes import Routes
from counterfoil.errors import ConfigError

log = logging.getLogger(__name__)
POLL_SECONDS = 0.1


class Watched:
    """The routes in a file. What was taken last stays when the file is gone, wrong, or of an earlier epoch."""

    def __init__(self, path: Path, taken: Callable[[Routes], None]) -> None:
        self.path, self.taken = path, taken
        self.current: Routes | None = None
        self._seen: tuple[int, int, int] | None = None

    def look(self) -> None:
        """Read the file when it changed."""
        try:
            state = self.path.stat()
        except OSError:
            return
        seen = (state.st_ino, state.st_mtime_ns, state.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            fresh = routes.read(self.path)
        except ConfigError as fault:
            log.error("routes not taken: %s", fault)
            return
        held = self.current
        if held is not None and held.use_case == fresh.use_case and fresh.epoch < held.epoch:
            log.error("routes not taken: epoch %d is earlier than %d", fresh.epoch, held.epoch)
            return
        self.current = fresh
        self.taken(fresh)

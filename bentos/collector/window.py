"""Ids of the events that were acknowledged last, for a quick answer to who sends one again.

Bounded, so not exact: an id that has fallen out is taken once more, and landing, which knows every id that ever landed, drops it.
"""

from collections.abc import Iterable

IDS = 250_000


class Window:
    """Two generations of ids: at least the last `ids`, at most twice as many.

    `pending` are those that the disk does not have yet.
    """

    def __init__(self, ids: int = IDS) -> None:
        self.ids = ids
        self._new: set[str] = set()
        self._old: set[str] = set()
        self.pending: set[str] = set()

    def __contains__(self, id: str) -> bool:
        return id in self._new or id in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def keep(self, ids: Iterable[str]) -> None:
        """Note ids that are on the disk."""
        for id in ids:
            self._new.add(id)
            if len(self._new) >= self.ids:
                self._old, self._new = self._new, set()

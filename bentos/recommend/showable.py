"""What may be shown at all at a moment: not what the catalogue marks as hidden, nor what can be had no longer.

Worked out once per catalogue, and anew when an end has passed: an answer looks up what holds.
"""

import numpy as np

from bentos.snapshot import NO_END, Snapshot

REMEMBERED = 8  # stretches between two ends; one byte per item each


class Showable:
    """The items of a catalogue that may be shown, by the moment."""

    def __init__(self, items: Snapshot) -> None:
        self._hidden_I, self._end_us_I = items.hidden_I, items.end_us_I
        self._hidden = int(items.hidden_I.sum())
        self._end_us_E = np.unique(items.end_us_I[items.end_us_I < NO_END])  # ascending
        self._held: dict[int, tuple[np.ndarray | None, tuple[str, ...]]] = {}

    def at(self, as_of_us: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
        """Return which items may be shown, bool [I], not to be written to (None: all), and what that leaves out, in sentences.

        An item is gone at the very moment of its end.
        """
        passed = int(np.searchsorted(self._end_us_E, as_of_us, side="right")) if len(self._end_us_E) else 0
        found = self._held.get(passed)
        if found is None:
            if len(self._held) >= REMEMBERED:
                self._held.clear()
            found = self._held[passed] = self._made(passed)
        return found

    def _made(self, passed: int) -> tuple[np.ndarray | None, tuple[str, ...]]:
        if not passed and not self._hidden:
            return None, ()
        shown_I = ~self._hidden_I
        said = [f"none of {self._hidden} that are hidden"] if self._hidden else []
        if passed:
            there_I = self._end_us_I > self._end_us_E[passed - 1]
            shown_I &= there_I
            said.append(f"none of {len(there_I) - int(there_I.sum())} that can be had no longer")
        shown_I.flags.writeable = False
        return shown_I, tuple(said)

"""A world in which whoever acts dies before or after the Nth effect; and the attempts for every N until nobody dies any more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Died(BaseException):
    """Whoever acted was killed."""


@dataclass
class Mortal:
    """Counts effects. At the `deadly` one whoever does it dies, `after` it or before."""

    deadly: int = 0
    after: bool = False
    effects: int = 0

    def mortal(self, effect: Callable[..., Any]) -> Callable[..., Any]:
        """Return an effect before or after which its doer may die."""

        def done(*args: Any) -> Any:
            self.effects += 1
            if self.effects == self.deadly and not self.after:
                raise Died
            made = effect(*args)
            self.check()
            if self.effects == self.deadly:
                raise Died
            return made

        return done

    def check(self) -> None:
        """Hold what must be true after each effect."""
        raise NotImplementedError


def attempts(attempt: Callable[[int], bool]) -> int:
    """Attempt with the first effect deadly, the second, .. until nobody died of it; return how many attempts that took."""
    deadly = 1
    while attempt(deadly):
        deadly += 1
    return deadly

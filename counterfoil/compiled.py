"""Loops that are compiled when a process begins to answer: what arrays say in twenty passes, in one.

A loop is a plain function of arrays with a signature of numba's. It runs compiled after `compile_all`, which takes seconds; who
has no use for that (fits, evaluations) never imports numba and goes by arrays. Both ways give the same bits: sums run in the
same order, nothing is contracted or reordered (no fast mathematics), and powers and logarithms stay with numpy.
Nothing compiled is kept on disk: numba's cache is a pickle beside the sources that nobody could check, and bentos are read-only.
"""

from collections.abc import Callable
from typing import Any

LOOPS: "list[Loop]" = []


class Loop:
    """A function of arrays; `ready` once it is compiled. Called before that, it runs as Python: right, and very slow."""

    def __init__(self, function: Callable[..., None], signature: str) -> None:
        self.function, self.signature = function, signature
        self.run: Callable[..., None] = function
        self.ready = False
        LOOPS.append(self)

    def __call__(self, *arguments: Any) -> None:
        """Fill the arrays that are there to be filled."""
        self.run(*arguments)

    def compile(self) -> None:
        """Compile, unless that was done."""
        if self.ready:
            return
        import numba

        self.run = numba.njit(self.signature, nogil=True, error_model="numpy")(self.function)
        self.ready = True


def loop(signature: str) -> Callable[[Callable[..., None]], Loop]:
    """Make a loop of a function whose arguments are as `signature` says; it returns nothing."""
    return lambda function: Loop(function, signature)


def compile_all() -> None:
    """Compile every loop of the modules that were imported: once per process, before its first answer."""
    for one in LOOPS:
        one.compile()

"""How many threads numpy's and scipy's BLAS may use. Nothing else; torch's are in models/nn/threads.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

BLAS = "blas"
_settled: list[bool] = []  # whether this process has one thread from now on


@contextmanager
def one_thread(*, fresh: bool = False) -> Iterator[None]:
    """Let BLAS use one thread inside: the same bits on any machine, and small products are quicker.

    The handle is looked up once, which is what an answer wants; `fresh` looks again, for libraries that were loaded since.
    """
    if _settled and not fresh:
        yield
        return
    found = ThreadpoolController() if fresh else _found()
    if all(one.num_threads == 1 for one in found.lib_controllers if one.user_api == BLAS):
        yield  # asking takes a microsecond, setting and setting back ten
        return
    with found.limit(limits=1, user_api=BLAS):
        yield


def one_thread_from_now_on() -> None:
    """Let BLAS use one thread in this process, for one that does nothing but answer."""
    _found().limit(limits=1, user_api=BLAS)
    _settled.append(True)


@cache
def _found() -> ThreadpoolController:
    return ThreadpoolController()

"""How many threads numpy's and scipy's BLAS may use. Nothing else; torch's are in models/nn/threads.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread(*, fresh: bool = False) -> Iterator[None]:
    """Let BLAS use one thread inside: the same bits on any machine, and small products are quicker.

    The handle is looked up once, which is what an answer wants; `fresh` looks again, for libraries that were loaded since.
    """
    with (ThreadpoolController() if fresh else _found()).limit(limits=1, user_api="blas"):
        yield


@cache
def _found() -> ThreadpoolController:
    return ThreadpoolController()

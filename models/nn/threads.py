"""How many threads torch may use. Nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside, and as many as before afterwards.

    Parts of work are small here: two threads that wait for each other on a busy machine cost eight times the processor
    seconds (measured), and with one the bytes do not depend on the machine's cores.
    """
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

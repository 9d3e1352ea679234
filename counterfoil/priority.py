"""Who goes first where processes want the same cores: what somebody waits for, then what runs by night, then copies.

And who keeps to which core.
"""

import os
import time
from contextlib import suppress
from pathlib import Path

NIGHT, LAST = 10, 19  # of nice(2): 110 and 15 parts of a core where what is not nice has 1,024
TRIES, TRY_SECONDS = 20, 0.1


def own_cores(count: int) -> list[int | None]:
    """Return which core each of so many processes keeps to: one each, then None; None for all where there are more cores.

    Services of one machine would all have the same few of many cores.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if not 0 < len(cores) <= count:
        return [None] * count
    return [*cores, *[None] * (count - len(cores))]


def keep_to(core: int) -> None:
    """Run on this core alone; anywhere where that is not allowed, or where the core was taken away since."""
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


def behind_answers() -> None:
    """Let this process and its children have what cores others leave; they go on, if slowly, where nothing is left."""
    os.nice(max(0, NIGHT - os.nice(0)))
    _group(NIGHT)


def only_when_idle() -> None:
    """Have the processor only while nobody else wants it (SCHED_IDLE, sched(7)); where that is not allowed, little of it."""
    try:
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    except OSError:
        os.nice(LAST)
    _group(LAST)


def _group(nice: int) -> None:
    """Put this process into a session of its own, unless it leads one, and that session behind others.

    Linux shares cores among sessions before it shares them among the processes of each (autogroup, sched(7)): however nice, or
    idle, all that one session wants is as much as all of another one.
    """
    with suppress(OSError):
        os.setsid()
    for _ in range(TRIES):
        try:
            Path("/proc/self/autogroup").write_text(str(nice))
            return
        except BlockingIOError:  # a kernel takes ten such words a second from all together who are not root
            time.sleep(TRY_SECONDS)
        except OSError:  # it shares in another way
            return

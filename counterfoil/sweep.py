"""Sweeping up what writers that were killed left: files beside their place that nobody renames into it any more.

Who writes a file whole or not at all (counterfoil/files.py, counterfoil/segment.py) names it by the id of its process until then.
"""

import os
import re
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import psutil

HALF = re.compile(r".+\.(?P<pid>\d+)-[0-9a-f]{8}\.new|.+\.jsonl\.(?P<begun>\d+)\.new")
AGE_SECONDS = 3600.0
FOLDER_SECONDS = 6 * 3600.0  # for which nobody writes into a folder that somebody works in
CLOCK_SECONDS = (
    5.0  # by which the moment of a process's creation, counted from the machine's start, may be off
)


def sweep(
    home: Path, enter: Callable[[Path], bool] = lambda folder: True, age_seconds: float = AGE_SECONDS
) -> list[Path]:
    """Remove the half files in a folder and below it, and return them; `enter` says which folders are looked into.

    Only what was last written to that long ago, by a process that is gone.
    """
    found = []
    for folder, below, files in os.walk(home):
        below[:] = [name for name in below if enter(Path(folder, name))]
        found += [path for name in files if _is_left(path := Path(folder, name), age_seconds)]
    for path in found:
        path.unlink(missing_ok=True)
    return found


def sweep_folders(folders: Iterable[Path], age_seconds: float = FOLDER_SECONDS) -> list[Path]:
    """Remove those of these folders in which nothing was written for that long, and return them."""
    found = []
    for folder in folders:
        with suppress(OSError):  # whoever works in it has just ended, or it is not ours to look into
            times = [path.lstat().st_mtime for path in (folder, *folder.rglob("*"))]
            if time.time() - max(times) >= age_seconds:
                shutil.rmtree(folder)
                found.append(folder)
    return found


def _is_left(path: Path, age_seconds: float) -> bool:
    named = HALF.fullmatch(path.name)
    if named is None:
        return False
    with suppress(FileNotFoundError):  # it has been renamed into its place
        written = path.stat().st_mtime
        return time.time() - written >= age_seconds and _is_gone(int(named["pid"] or named["begun"]), written)
    return False


def _is_gone(pid: int, written: float) -> bool:
    """Say whether who wrote at a moment is gone: a process of that id that began later is another.

    Of who writes from another machine's, or another pod's, processes nothing is known: for them the hour alone speaks.
    """
    try:
        found = psutil.Process(pid)
        return found.status() == psutil.STATUS_ZOMBIE or found.create_time() > written + CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True

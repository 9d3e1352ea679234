"""What a person or a machine sees of a command: progress on stderr, one result on stdout, one sentence per error."""

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import orjson
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from counterfoil import canonical
from counterfoil.errors import CounterfoilError

PIPE_WIDTH = 160  # where there is no terminal to ask
OUT = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
ERR = Console(stderr=True)


def emit(result: Any, as_json: bool, show: Callable[[Any], None]) -> None:
    """Print the result: as one JSON object when asked for, else by `show`."""
    if as_json:
        sys.stdout.write(orjson.dumps(canonical.plain(result), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        show(result)


def flush() -> None:
    """Write what waits for standard output; OSError where there is no room for it: then nothing waits any more."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # `unread` is to see it
        raise
    except OSError:
        end_silently()
        raise


def unread() -> bool:
    """Say whether standard output is a pipe that nobody reads any more."""
    look = select.poll()
    look.register(1, 0)
    return any(event & select.POLLERR for _, event in look.poll(0))


def end_silently() -> None:
    """Let nothing more be written to standard output: nobody reads it any longer."""
    _leave(1)


def end_quietly() -> None:
    """Let nothing follow our last word: native libraries warn, page after page, of what they hold while they are taken down."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
        _leave(2)


def _leave(descriptor: int) -> None:
    """Have what is written to a descriptor go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def fail(fault: CounterfoilError, as_json: bool) -> int:
    """Print one sentence (or one JSON object) about the fault; return the exit code."""
    if as_json:
        sys.stdout.write(orjson.dumps({"error": str(fault), "kind": type(fault).__name__}).decode() + "\n")
    ERR.print(f"[bold red]{type(fault).__name__}[/]: {escape(str(fault))}", highlight=False, soft_wrap=True)
    return fault.exit_code


def table(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Print a table; numbers are right-aligned, and text is shown as it is, brackets and all."""
    shown = Table(title=escape(title), title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        shown.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[_cell(cell) for cell in row])
    OUT.print(shown)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4f}" if isinstance(value, float) else escape(str(value))


class Stages:
    """A bar per stage that is running, and a line with its seconds when it is over."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.running: dict[str, TaskID] = {}
        self.seconds: dict[str, float] = {}

    def start(self, stage: str, label: str = "") -> None:
        """Show that a stage began; one that began before and was tried again is shown once."""
        self._clear(stage)
        self.running[stage] = self.progress.add_task(f"{stage} {label}".strip(), total=None)

    def done(self, stage: str, label: str, seconds: float, note: str = "") -> None:
        """Show that a stage is over; its seconds add up under the stage's name."""
        name = f"{stage} {label}".strip()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + seconds, 3)
        self._clear(stage)
        self.progress.console.print(
            f"[green]✓[/] {name:<28} [dim]{seconds:6.1f} s[/] {note}", highlight=False
        )

    def advance(self, stage: str, count: int) -> None:
        """Show how far the running stage is, in whatever it counts."""
        if stage not in self.running:
            self.start(stage)
        self.progress.update(self.running[stage], description=f"{stage} [dim]{count:,}[/]")

    @contextmanager
    def stage(self, stage: str, label: str = "") -> Iterator[None]:
        """Show a stage around what runs inside."""
        self.start(stage, label)
        started = time.perf_counter()
        try:
            yield
        except BaseException:
            self._clear(stage)
            raise
        self.done(stage, label, time.perf_counter() - started)

    def _clear(self, stage: str) -> None:
        task = self.running.pop(stage, None)
        if task is not None:
            self.progress.remove_task(task)


@contextmanager
def stages() -> Iterator[Stages]:
    """Show the progress of what runs inside, on stderr."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=ERR, transient=True) as progress:
        yield Stages(progress)

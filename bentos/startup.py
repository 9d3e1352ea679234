"""From a bento on disk to a model that may answer: digests, then a parse in a child process, then golden rows.

Native parsers crash or hang on damaged files; a child process that dies or outlasts its time is an IntegrityError here,
and this process lives. `python -c ... probe BENTO` is that child.
"""

import gc
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from bentos import golden, light, snapshot
from bentos.bundle import Bundle
from bentos.snapshot import Snapshot
from counterfoil import compiled
from counterfoil.errors import IntegrityError
from models.family import Family, Model

PARSE_SECONDS = 60.0
GARBAGE = 20_000  # objects between two collections: several answers leave that many, most of which need no collector
# The code of the bento comes first in the path, and nothing is written beside it.
ENTRY = "import sys; sys.path.insert(0, sys.argv.pop(1)); from bentos import {module}; {module}.main(sys.argv[1:])"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A model that passed, with the catalogue that it speaks of."""

    bundle: Bundle
    model: Model
    snapshot: Snapshot


def command(source: Path, module: str, arguments: Sequence[str]) -> list[str]:
    """Return the command that runs `bentos.MODULE.main` with the code that lies in `source`."""
    return [sys.executable, "-P", "-B", "-c", ENTRY.format(module=module), str(source), *arguments]


def load(opened: Bundle, *, parse_seconds: float = PARSE_SECONDS) -> Loaded:
    """Parse in a child process first, then here, and ask the golden rows. IntegrityError when any of it fails."""
    await_probe(start_probe(opened), opened, parse_seconds)
    return parse(opened)


def prepare(opened: Bundle) -> None:
    """Import what the model is made of, and compile its loops: what can be done while a child still parses."""
    _imported(opened)
    compiled.compile_all()


def parse(opened: Bundle, *, loops: bool = True) -> Loaded:
    """Parse model and snapshot in this process and check the golden rows; only for bytes that were checked before.

    Loops are compiled before the golden rows are asked, so that these are answered as requests are; without `loops` they are
    answered by arrays, which takes a child seconds less.
    """
    about = opened.about
    items = snapshot.read(opened.data, about["as_of_us"])
    model = _imported(opened).load(opened.model)
    if loops:
        compiled.compile_all()
    golden.check(opened.golden, model, items.item_IF, items.content, about, about["as_of_us"])
    return Loaded(bundle=opened, model=model, snapshot=items)


def _imported(opened: Bundle) -> Family:
    """Return the family of the bento, and import what reads its trees where it has some."""
    from models.families import family

    if any(opened.model.rglob("*.ubj")):
        light.import_xgboost()
    return family(opened.about["family"])


def settle() -> None:
    """Make a process that only answers quick: called once, when everything is loaded, before the first answer.

    Who replays calls it too: sums over several threads could come out in another order.
    """
    alone()
    gc.collect()
    gc.freeze()  # what is loaded stays; the collector need not walk it again
    gc.set_threshold(GARBAGE)
    gc.enable()


def alone() -> None:
    """Let this thread compute alone: for the rows of one person, threads cost more than they bring.

    And those of a process that was forked are not there: it would wait for them for ever.
    """
    threadpool_limits(1)
    if "torch" in sys.modules:  # its mathematics is linked in, where nobody else sees it
        import torch

        torch.set_num_threads(1)


def start_probe(opened: Bundle) -> "subprocess.Popen[bytes]":
    """Start the child process that parses first."""
    return subprocess.Popen(
        command(opened.path / "src", "probe", [str(opened.path)]),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def await_probe(
    child: "subprocess.Popen[bytes]", opened: Bundle, parse_seconds: float = PARSE_SECONDS
) -> None:
    """Wait for the child. IntegrityError when it crashed, failed, or outlasted its time (then it is ended)."""
    try:
        _, errors = child.communicate(timeout=parse_seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise IntegrityError(
            f"parsing {opened.path} took longer than {parse_seconds:g} s; package the bento again"
        ) from None
    if child.returncode < 0:
        raise IntegrityError(
            f"parsing {opened.path} crashed with signal {-child.returncode}; package the bento again"
        )
    if child.returncode > 0:
        last = errors.decode(errors="replace").strip().rpartition("\n")[2]
        raise IntegrityError(f"{opened.path} cannot be parsed: {last or 'no reason given'}; package it again")

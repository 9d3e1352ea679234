"""Answers made anew from an archived bento, by the code that lies in it: a child process, and the parent's end of it.

The child opens the bundle once and reads one JSON object per line, writes one per line. What passes between the two must be read
by parents that are years younger than the child: fields are added, never changed or taken away.
"""

import os
import queue
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import orjson

from bentos import startup
from bentos.bundle import open_bundle
from bentos.recommend import recent, why
from bentos.recommend.flow import Answers, Stages, recalled
from bentos.recommend.person import Person
from bentos.recommend.rulebook import Rulebook
from counterfoil import canonical
from counterfoil.errors import CounterfoilError, IntegrityError, UnavailableError

START_SECONDS = 180.0
ASK_SECONDS = 120.0
MODULE = "replay"
MADE = (
    "the model",
    "the source",
)  # how sentences begin that the answer itself makes, so that they come out anew


def has_replay(bento: Path) -> bool:
    """Say whether the code in a bento can make its answers anew: code of before there was replay cannot."""
    return (bento / "src" / "bentos" / f"{MODULE}.py").is_file()


@contextmanager
def replayer(
    bento: Path, *, start_seconds: float = START_SECONDS, ask_seconds: float = ASK_SECONDS
) -> "Iterator[Replayer]":
    """Start the child of a bento whose digests were checked, and end it after the block.

    IntegrityError when it cannot parse the bento, or crashes or hangs over it.
    """
    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(
            startup.command(bento / "src", MODULE, [str(bento)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        try:
            started = Replayer(child, errors, ask_seconds)
            started.await_start(bento, start_seconds)
            yield started
        finally:
            child.kill()
            child.communicate()


class Replayer:
    """The parent's end of a child that holds one bento."""

    def __init__(self, child: "subprocess.Popen[bytes]", errors: Any, ask_seconds: float) -> None:
        self._child, self._errors, self._ask_seconds = child, errors, ask_seconds
        self._ended = ""  # why nobody may ask on: a late line would be taken for the next answer
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, name="replay", daemon=True).start()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def await_start(self, bento: Path, seconds: float) -> None:
        """Wait until the bento is loaded. IntegrityError when that fails."""
        try:
            said = self._next(seconds)
        except UnavailableError as fault:
            raise IntegrityError(f"parsing {bento} failed ({fault}); package the bento again") from fault
        if "fault" in said:
            raise IntegrityError(said["fault"])

    def answer(
        self,
        receipt: Mapping[str, Any],
        view: Mapping[str, Any] | None,
        rules: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return the answer to a receipt's request for a person of whom `view` is known, as receipts have answers.

        `rules` are those that the receipt names. UnavailableError when the child cannot make it; it can be asked on unless it has
        died.
        """
        line = {"ask": "answer", "receipt": receipt, "view": view, "rules": rules}
        answered: dict[str, Any] = self._ask(line)
        return answered

    def why(
        self,
        receipt: Mapping[str, Any],
        view: Mapping[str, Any] | None,
        item: str | None,
        rules: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Return why these items, or one of them, stand where they stand. UnavailableError when the child cannot tell."""
        line = {"ask": "why", "receipt": receipt, "view": view, "item": item, "rules": rules}
        told: dict[str, Any] = self._ask(line)
        return told

    def _ask(self, line: dict[str, Any]) -> Any:
        assert self._child.stdin is not None
        if self._ended:
            raise UnavailableError(self._ended)
        try:
            self._child.stdin.write(orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            self._child.stdin.flush()
        except OSError as fault:
            raise UnavailableError(self._died()) from fault
        said = self._next(self._ask_seconds)
        if "fault" in said:
            raise UnavailableError(said["fault"])
        return said["said"]

    def _next(self, seconds: float) -> dict[str, Any]:
        try:
            line = self._lines.get(timeout=seconds)
        except queue.Empty:
            self._child.kill()
            self._ended = f"it took longer than {seconds:g} s and was ended"
            raise UnavailableError(self._ended) from None
        if not line:
            raise UnavailableError(self._died())
        said: dict[str, Any] = orjson.loads(line)
        return said

    def _died(self) -> str:
        code = self._child.wait()
        self._errors.seek(0)
        last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
        self._ended = f"it ended with {code}: {last or 'no reason given'}"
        return self._ended

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self._lines.put(line)
        self._lines.put(b"")


def main(arguments: Sequence[str]) -> None:
    """Load the bento of that path, then answer line by line until the input ends."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand between the lines
    try:
        answers = Answers(startup.parse(open_bundle(Path(arguments[0]))))
    except CounterfoilError as fault:
        _say(out, {"fault": str(fault)})
        return
    startup.settle()
    _say(out, {"ready": answers.loaded.bundle.tag})
    for line in sys.stdin.buffer:
        _say(out, _answered(answers, orjson.loads(line)))


ASKED: dict[str, Callable[[Answers, dict[str, Any]], Any]] = {
    "answer": lambda answers, line: _answer(answers, line),
    "why": lambda answers, line: why.told(
        answers,
        _question(line),
        _person(line),
        [item["item"] for item in line["receipt"]["items"]],
        line["item"],
        **_given(answers, line),
    ),
}


def _answered(answers: Answers, line: dict[str, Any]) -> dict[str, Any]:
    if line["ask"] not in ASKED:
        return {"fault": f"the code of this bento cannot be asked for {line['ask']}"}
    try:
        return {"said": ASKED[line["ask"]](answers, line)}
    except Exception as fault:  # one receipt that cannot be read must not end the others
        return {"fault": f"{type(fault).__name__}: {fault}"}


def _answer(answers: Answers, line: dict[str, Any]) -> Any:
    return canonical.plain(answers.answer(_question(line), _person(line), Stages(), **_given(answers, line)))


def _question(line: dict[str, Any]) -> Any:
    stub = line["receipt"]
    return recalled(stub["request"], stub["person"], stub.get("nonce", ""))


def _given(answers: Answers, line: dict[str, Any]) -> dict[str, Any]:
    """Return the rules that held, and the recent events that were used."""
    rules = line.get("rules")
    name = line["receipt"]["features"].get("rules", "")
    steer = answers.steered(Rulebook.model_validate_json(orjson.dumps(rules)), name) if rules else None
    return {"steer": steer, "used": recent.read(line["receipt"]["features"].get("recent", {}))}


def _person(line: dict[str, Any]) -> Person:
    """Return the person as they were known: by the view, or degraded as the receipt says."""
    stub, view = line["receipt"], line["view"]
    degraded = tuple(said for said in stub["degraded"] if not said.startswith(MADE))
    event_time = None if stub["feature_time"] is None else canonical.utc_time(stub["feature_time"])
    if view is None:
        return Person(event_time=event_time, degraded=degraded)
    return Person(
        features={name: np.nan if value is None else value for name, value in view["features"].items()},
        item_ids=tuple(view["items"]),
        time_us_N=np.array(view["times_us"], np.int64),
        quantity_N=np.array(view["quantities"], np.float32),
        affinity=view["affinity"],
        event_time=event_time,
        degraded=degraded,
    )


def _say(out: TextIO, said: dict[str, Any]) -> None:
    out.write(orjson.dumps(said).decode() + "\n")
    out.flush()

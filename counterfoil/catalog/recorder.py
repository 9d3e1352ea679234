"""The recording seam: a noun enters the catalog because the verb that made it returns through here.

`Recorder.wrap(verb)` is the verb with a memory. Its key is the verb's name, the ids of the nouns and the values it was given, and
the digest of the code that it runs; when that key was done before and its bytes are still in the store, the recorded nouns come
back and nothing runs. Nobody else calls `Catalog.record`. Whoever watches what passes (`Observer`) is told here, so that no verb
has to tell anybody.
"""

import dataclasses
import inspect
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from counterfoil import canonical
from counterfoil.catalog.catalog import Catalog
from counterfoil.errors import CounterfoilError
from counterfoil.store import Store, Stored
from counterfoil.types import Noun


class Unrecorded(CounterfoilError):
    """Raised by a recorder that may only look, when a verb would have to run; `verb` names it."""

    def __init__(self, verb: str):
        super().__init__(f"{verb} has not been done with these inputs")
        self.verb = verb


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What a verb hands to the seam: its noun(s), and the folders that it put into the store.

    `parents` has, by the id of a noun, what it was made from, where that is not all that the verb was given.
    """

    nouns: tuple[Noun, ...]
    stored: tuple[Stored, ...] = ()
    parents: dict[str, tuple[Noun, ...]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One verb's passage through the seam: whether it ran or was remembered, how long it took."""

    verb: str
    label: str
    skipped: bool
    seconds: float
    nouns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """One verb on its way through the seam: its name, label and key, and what it was given, by the names of its parameters."""

    verb: str
    label: str
    key: str
    given: dict[str, Any]

    @property
    def taken(self) -> tuple[Noun, ...]:
        """The nouns among what it was given, each once, in the order of the parameters."""
        return tuple({noun.id: noun for noun in _nouns_in(self.given)}.values())


class Observer(Protocol):
    """Who is told of every passage. An observer may raise nothing: the verb's outcome is not its business."""

    def began(self, passage: Passage) -> None:
        """A verb is about to run."""

    def ended(self, passage: Passage, nouns: Sequence[Noun], *, remembered: bool) -> None:
        """A verb's nouns are on record; `remembered` ones were made before, and nothing began."""

    def failed(self, passage: Passage, fault: BaseException) -> None:
        """A verb that began ended with an error, or was interrupted."""


@dataclass(kw_only=True)
class Recorder:
    """Wraps verbs. `code` maps a verb's name to the digest of the code it depends on; `look` forbids running anything.

    `observers` are told of all that passes; `on_start` and `on_end` are for whoever shows progress. `before` is called once,
    ahead of the first verb that runs; `run` names the flow run.
    """

    catalog: Catalog
    store: Store
    code: dict[str, str]
    look: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    observers: tuple[Observer, ...] = ()
    on_start: Callable[[str, str], None] | None = None
    on_end: Callable[[Outcome], None] | None = None
    before: Callable[[], None] | None = None
    run: str | None = None

    def wrap(
        self,
        verb: Callable[..., Made],
        *,
        many: bool = False,
        present: Callable[[Noun], bool] = lambda noun: True,
        lasts: Callable[[], bool] = lambda: True,
    ) -> Callable[..., Any]:
        """Return `verb` as a function of the same arguments that gives its noun (a tuple of them when `many`), recorded.

        Whoever calls it may name its key (`asked`): the same one again gives what came of it first, whatever comes with it.
        `present` says whether what a remembered noun stands for is still there, `lasts` whether what the verb did to the world
        still stands; when not, the verb runs again.
        """
        name = verb.__name__
        parameters = inspect.signature(verb, follow_wrapped=False)

        def recorded(*args: Any, label: str = "", asked: str | None = None, **kwargs: Any) -> Any:
            key = asked or canonical.sha256(
                {
                    "verb": name,
                    "code": self.code.get(name, ""),
                    "args": _identity(args),
                    "kwargs": _identity(kwargs),
                }
            )
            given = dict(parameters.bind(*args, **kwargs).arguments)
            passage = Passage(verb=name, label=label, key=key, given=given)
            nouns = self._remembered(key, present) if lasts() else None
            started = time.perf_counter()
            skipped = nouns is not None
            if nouns is None:
                nouns = self._watched(verb, passage, args, kwargs)
            seconds = time.perf_counter() - started
            for observer in self.observers:
                observer.ended(passage, nouns, remembered=skipped)
            ids = tuple(noun.id for noun in nouns)
            outcome = Outcome(verb=name, label=label, skipped=skipped, seconds=seconds, nouns=ids)
            self.outcomes.append(outcome)
            if self.on_end:
                self.on_end(outcome)
            return tuple(nouns) if many else nouns[0]

        recorded.__name__ = name
        recorded.__doc__ = verb.__doc__
        return recorded

    def _watched(self, verb: Callable[..., Made], passage: Passage, args: Any, kwargs: Any) -> list[Noun]:
        """Run a verb, and tell the observers that it begins, and of its end when it is a bad one."""
        if self.look:
            raise Unrecorded(passage.verb)
        if self.before:
            first, self.before = self.before, None
            first()
        for observer in self.observers:
            observer.began(passage)
        try:
            return self._run(verb, passage.key, passage.label, args, kwargs)
        except BaseException as fault:
            for observer in self.observers:
                observer.failed(passage, fault)
            raise

    def _run(self, verb: Callable[..., Made], key: str, label: str, args: Any, kwargs: Any) -> list[Noun]:
        if self.on_start:
            self.on_start(verb.__name__, label)
        started = time.perf_counter()
        made = verb(*args, **kwargs)
        parents = sorted({(noun.kind, noun.id) for noun in _nouns_in([args, kwargs])})
        own = None
        if made.parents is not None:
            own = {name: [(noun.kind, noun.id) for noun in nouns] for name, nouns in made.parents.items()}
        seconds = time.perf_counter() - started
        self.catalog.record(verb.__name__, key, made.nouns, parents, made.stored, seconds, self.run, own)
        # What was recorded first under an id stays; hand on that, so that a noun in hand is always the noun on record.
        return [self.catalog.get(noun.id) for noun in made.nouns]

    def _remembered(self, key: str, present: Callable[[Noun], bool]) -> list[Noun] | None:
        ids = self.catalog.done(key)
        if ids is None:
            return None
        nouns = [self.catalog.get(noun_id) for noun_id in ids]
        addresses = [noun.address for noun in nouns if hasattr(noun, "address")]
        return nouns if all(map(self.store.has, addresses)) and all(map(present, nouns)) else None


def _identity(value: Any) -> Any:
    """Return what tells one argument from another: a noun's id; the fields of other dataclasses; plain values."""
    if isinstance(value, Noun):
        return value.id
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _identity(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {str(key): _identity(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_identity(item) for item in value]
    return value


def _nouns_in(value: Any) -> Iterable[Noun]:
    if isinstance(value, Noun):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _nouns_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _nouns_in(item)

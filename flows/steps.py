"""The verbs that touch disk or network, as a value: `advance` is handed one and does not know how they run.

Plain functions by default (tests, looking ahead); `wrap` passes each through Prefect's `task(...)`. Every verb that makes a noun
goes through the recording seam, so what was done with the same inputs is remembered instead of done again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial, update_wrapper
from typing import Any

from counterfoil.catalog import Recorder
from counterfoil.types import Approval, Attempt, Candidate, Dataset, Decision, UseCase, Verdict
from flows import champion as champions
from flows import verbs
from flows.place import Place, code_digests
from flows.settled import settle
from flows.standards import openlineage

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """One callable per verb; see flows/verbs/ for what each takes and gives."""

    days: Callable[[datetime], dict[str, str]]
    tables: Callable[[], dict[str, str]]
    validate: Callable[..., tuple[Verdict, ...]]
    require: Callable[[Sequence[Verdict]], tuple[Verdict, ...]]
    snapshot: Callable[..., Dataset]
    inspect: Callable[..., Verdict]
    champion: Callable[[UseCase, Dataset], Candidate | None]
    defender: Callable[[UseCase, Dataset, Sequence[Candidate]], Candidate | None]
    attempt: Callable[..., Attempt]
    fit: Callable[..., Candidate]
    evaluate: Callable[..., Any]
    decide: Callable[..., Decision]
    package: Callable[..., Any]
    online: Callable[[], dict[str, str]]
    materialise: Callable[..., Any]
    release: Callable[..., Any]
    waits_for: Callable[[UseCase, Decision], int]
    approve: Callable[..., Approval]
    steer: Callable[..., Decision]
    switch: Callable[..., Any]


def steps(place: Place, recorder: Recorder, wrap: Wrap = lambda verb: verb) -> Steps:
    """Return the verbs of one installation, remembered by `recorder`, each passed through `wrap`."""

    def recorded(verb: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        return wrap(recorder.wrap(_at(place, verb), **options))

    return Steps(
        days=partial(verbs.days, place),
        tables=partial(verbs.tables, place),
        validate=recorded(verbs.validate, many=True, present=verbs.believed),
        require=partial(verbs.require, place),
        snapshot=recorded(verbs.snapshot),
        inspect=recorded(verbs.inspect, present=verbs.believed),
        champion=partial(champions.champion, place),
        defender=partial(champions.defender, place),
        attempt=recorded(verbs.attempt),
        fit=recorded(verbs.fit),
        evaluate=recorded(verbs.evaluate),
        decide=recorded(verbs.decide),
        package=recorded(verbs.package, present=partial(verbs.packaged, place)),
        online=partial(verbs.online, place),
        materialise=recorded(verbs.materialise, lasts=partial(verbs.materialised, place)),
        release=recorded(verbs.release),
        waits_for=partial(champions.waits_for, place),
        approve=recorded(verbs.approve),
        steer=recorded(verbs.steer),
        switch=recorded(verbs.switch, many=True),
    )


def recorder(place: Place, run: openlineage.Run | None = None, *, look: bool = False) -> Recorder:
    """Return a recorder for this installation; with `look` it only remembers, and refuses to run anything.

    Its passages are told as OpenLineage events, as stages of the flow run `run`.
    """
    return Recorder(
        catalog=place.catalog,
        store=place.store,
        code=code_digests(),
        look=look,
        before=partial(settle, place.settings, place.catalog, place.store),
        observers=() if look else (openlineage.stages(place, run),),
    )


def _at(place: Place, verb: Callable[..., Any]) -> Callable[..., Any]:
    bound = partial(verb, place)
    update_wrapper(bound, verb)
    return bound

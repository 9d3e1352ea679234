"""Everything by which the console changes anything: verbs of other rooms, called by name.

A verb whose room is not part of this installation is not there, and is said to be so: nothing is pretended.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from counterfoil import canonical
from counterfoil.errors import UnavailableError
from flows.place import Place

VERBS = {
    "approve": ("flows.steer", "approve_and_tell"),
    "promote": ("flows.steer", "promote"),
    "rollback": ("flows.steer", "rollback"),
    "withdraw": ("flows.steer", "withdraw"),
    "radius": ("flows.blast", "radius"),
    "quarantine": ("flows.quarantine", "impose"),
    "export": ("flows.people.export", "export"),
    "forget": ("flows.people.forget", "forget"),
}


def available(verb: str) -> bool:
    """Say whether this installation can do it."""
    try:
        for name in ("radius", verb) if verb == "quarantine" else (verb,):
            _verb(name)
    except UnavailableError:
        return False
    return True


def approve(place: Place, decision: str, by: str, note: str) -> dict[str, Any]:
    """Put somebody's word beside a decision of the gate."""
    return _plain(_verb("approve")(place, decision, by, note))


def promote(
    place: Place, candidate: str, by: str, reason: str, stage: str | None = None, share: float | None = None
) -> dict[str, Any]:
    """Let a candidate serve, at a stage and to a share of the people, or as the rollout says."""
    return _plain(_verb("promote")(place, candidate, by, reason, stage, share))


def rollback(place: Place, use_case: str, by: str, reason: str) -> dict[str, Any]:
    """Let the release before serve again."""
    return _plain(_verb("rollback")(place, use_case, by, reason))


def withdraw(place: Place, use_case: str, by: str, reason: str) -> dict[str, Any]:
    """Take the challenger back."""
    return _plain(_verb("withdraw")(place, use_case, by, reason))


def quarantine(place: Place, subject: str, reason: str, by: str) -> dict[str, Any]:
    """Keep what a subject reached from being promoted: first it is found out what that is."""
    found = _verb("radius")(place, [subject])
    made = _verb("quarantine")(place, found.subject.text, found.reach.made, found.sources, reason, by)
    return {"id": made.id, "subject": made.subject, "kept": len(made.nouns), "reason": made.reason}


def export(place: Place, person: str, folder: Path) -> dict[str, Any]:
    """Write everything that is held about a person into a new folder."""
    return _plain(_verb("export")(place, person, folder))


def forget(place: Place, person: str, by: str, certificate: Path) -> dict[str, Any]:
    """Erase a person, write the certificate, and return what went and what remains."""
    return _plain(_verb("forget")(place, person, by, certificate))


def _verb(name: str) -> Callable[..., Any]:
    """Return what does it. UnavailableError when that is not part of this installation."""
    module, function = VERBS[name]
    try:
        found: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as fault:
        if fault.name is None or not module.startswith(fault.name):
            raise  # it is there, and needs something that is not
        raise _missing(name, module) from fault
    except AttributeError as fault:
        raise _missing(name, module) from fault
    return found


def _missing(name: str, module: str) -> UnavailableError:
    return UnavailableError(
        f"{name} is not available: this installation has no {module}; install a version of Counterfoil that has it"
    )


def _plain(done: dict[str, Any]) -> dict[str, Any]:
    """Return what a verb tells as JSON's own types."""
    return {str(name): canonical.plain(value) for name, value in done.items()}

"""What changes something: each takes a right, a form with its token, and a reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from counterfoil.console import actions
from counterfoil.console.door import Visitor, desk, line, may
from counterfoil.console.render import render
from counterfoil.console.roles import Right
from counterfoil.errors import AccessError, InputError

router = APIRouter()
Approver = Annotated[Visitor, Depends(may(Right.APPROVE))]
Promoter = Annotated[Visitor, Depends(may(Right.PROMOTE))]
Returner = Annotated[Visitor, Depends(may(Right.ROLLBACK))]
Isolator = Annotated[Visitor, Depends(may(Right.QUARANTINE))]


@router.post("/decisions/{id}/approve")
def approve(request: Request, asks: Approver, id: str) -> Response:
    """Approve a decision. AccessError for a machine: the gate waits for so many people."""
    if asks.session is None:
        raise AccessError(
            f"{asks.name} is a machine, and the gate waits for people; log in by name and password"
        )
    done = actions.approve(desk(request).place, id, asks.name, line(request, "note"))
    return _done(request, f"{asks.name} approved {id}", done, f"/contenders/{id}")


@router.post("/candidates/{id}/promote")
def promote(request: Request, asks: Promoter, id: str) -> Response:
    """Let a model serve. InputError when there is no such stage, or its share is none."""
    reason = line(request, "reason")
    stage, share = (request.state.fields.get(name, "") for name in ("stage", "share"))
    if stage not in ("", "shadow", "canary", "champion"):
        raise InputError(f"{stage!r} is no stage to promote to; choose shadow, canary or champion")
    try:
        wanted = float(share) if share else None
    except ValueError as fault:
        raise InputError(f"{share!r} is no share; write it as 0.05") from fault
    done = actions.promote(desk(request).place, id, asks.name, reason, stage or None, wanted)
    return _done(request, f"{asks.name} promoted {id}", done, "/now")


@router.post("/use-cases/{name}/rollback")
def rollback(request: Request, asks: Returner, name: str) -> Response:
    """Let the release before serve again."""
    done = actions.rollback(desk(request).place, name, asks.name, line(request, "reason"))
    return _done(request, f"{asks.name} rolled {name} back", done, "/now")


@router.post("/use-cases/{name}/withdraw")
def withdraw(request: Request, asks: Returner, name: str) -> Response:
    """Take the challenger back."""
    done = actions.withdraw(desk(request).place, name, asks.name, line(request, "reason"))
    return _done(request, f"{asks.name} took the challenger of {name} back", done, "/now")


@router.post("/quarantines")
def quarantine(request: Request, asks: Isolator) -> Response:
    """Keep what a thing reached from being promoted."""
    subject = line(request, "subject")
    done = actions.quarantine(desk(request).place, subject, line(request, "reason"), asks.name)
    return _done(request, f"{asks.name} put {subject} into quarantine", done, "/now")


def _done(request: Request, says: str, done: dict[str, Any], back: str) -> Response:
    return render(request, "done.html", {"says": says, "done": done, "back": back})

"""The pages that are read: each asks its right, reads a value, and shows it."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from counterfoil import canonical
from counterfoil.console import actions
from counterfoil.console.door import Number, Visitor, desk, may
from counterfoil.console.read import answers, contenders, data, lineage, moments, now
from counterfoil.console.render import render
from counterfoil.console.roles import Right
from counterfoil.errors import InputError

router = APIRouter()
Reader = Annotated[Visitor, Depends(may(Right.READ))]
Confidant = Annotated[Visitor, Depends(may(Right.PEOPLE))]


@router.get("/")
def start(asks: Reader) -> Response:
    """Go to what serves now."""
    return RedirectResponse("/now", 303)


@router.get("/now")
def show_now(request: Request, asks: Reader) -> Response:
    """Show what serves."""
    at = desk(request)
    told = now.now(at.place, at.clock())
    return render(request, "now.html", {**told, "can": _can("rollback", "withdraw")})


@router.get("/contenders")
def show_contenders(request: Request, asks: Reader) -> Response:
    """Show the newest decision."""
    told = contenders.contenders(desk(request).place)
    return render(request, "contenders.html", {**told, "can": _can("approve", "promote")})


@router.get("/contenders/{decision}")
def show_decision(request: Request, asks: Reader, decision: str) -> Response:
    """Show one decision."""
    told = contenders.contenders(desk(request).place, decision)
    return render(request, "contenders.html", {**told, "can": _can("approve", "promote")})


@router.get("/answers")
def show_answers(request: Request, asks: Reader, id: str = "") -> Response:
    """List the newest answers, or go to one."""
    if id.strip():
        return RedirectResponse(f"/answers/{_id(id)}", 303)
    told = answers.answers(desk(request).place)
    if not asks.may(Right.PEOPLE):
        told = {"answers": [{**one, "person": None} for one in told["answers"]]}
    return render(request, "answers.html", told)


@router.get("/answers/{id}")
def show_answer(request: Request, asks: Reader, id: str) -> Response:
    """Show one answer."""
    told = answers.answer(desk(request).place, id)
    return render(request, "answer.html", told if asks.may(Right.PEOPLE) else answers.anonymous(told))


@router.get("/answers/{id}/next")
def show_next(request: Request, asks: Confidant, id: str) -> Response:
    """Show what the person did with an answer."""
    return render(request, "next.html", answers.acts(desk(request).place, id))


@router.get("/lineage")
def show_starts(request: Request, asks: Reader, id: str = "") -> Response:
    """Show where a walk may begin, or go to one thing."""
    if id.strip():
        return RedirectResponse(f"/lineage/{_id(id)}", 303)
    return render(request, "starts.html", lineage.start(desk(request).place))


@router.get("/lineage/{id}")
def show_lineage(
    request: Request, asks: Reader, id: str, side: str = "", kind: str = "", first: Number = 0
) -> Response:
    """Show one thing and its neighbours, or all neighbours of one kind, page by page."""
    place = desk(request).place
    if kind:
        if side not in ("parents", "children"):
            raise InputError(f"side is {side!r}; it is parents or children")
        return render(request, "kin.html", lineage.kin(place, id, side, kind, max(0, first)))
    return render(request, "lineage.html", {**lineage.lineage(place, id), "can": _can("quarantine")})


@router.get("/data")
def show_data(request: Request, asks: Reader, month: str = "") -> Response:
    """Show what landed; with a month its days one by one."""
    return render(request, "data.html", {**data.data(desk(request).place), "month": month})


@router.get("/data/{day}")
def show_day(request: Request, asks: Reader, day: str) -> Response:
    """Show one day."""
    return render(request, "day.html", data.day(desk(request).place, day))


@router.get("/time")
def show_time(
    request: Request, asks: Reader, at: str = "", known_at: str = "", step: int | None = None
) -> Response:
    """Show what served at a moment."""
    here = desk(request)
    told = moments.moments(here.place, _moment("at", at), _moment("known_at", known_at), step, here.clock())
    return render(request, "time.html", told)


def _moment(name: str, text: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        return canonical.utc_time(text.strip())
    except (ValueError, OverflowError) as fault:
        raise InputError(
            f"{name} is {text!r}, which is no moment; write it as 2026-11-28T14:00:00Z"
        ) from fault


def _id(text: str) -> str:
    """Return an id that somebody pasted. InputError when it cannot be one: it would lead elsewhere."""
    id = text.strip()
    if not all(letter.isalnum() or letter in "-_.:" for letter in id):
        raise InputError(
            f"{id[:80]!r} is no id; copy one from a page, such as receipt-20260412T093401-7f3a9c1e-12"
        )
    return id


def _can(*verbs: str) -> dict[str, bool]:
    return {verb: actions.available(verb) for verb in verbs}

"""The ledger's pages: entries, one entry, its proof, and verifying everything."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from counterfoil.console.door import Number, Visitor, desk, may
from counterfoil.console.read import entries
from counterfoil.console.render import render, wants_json
from counterfoil.console.roles import Right

router = APIRouter()
Reader = Annotated[Visitor, Depends(may(Right.LEDGER))]
Verifier = Annotated[Visitor, Depends(may(Right.VERIFY))]


@router.get("/ledger")
def show_entries(request: Request, asks: Reader, before: Number | None = None) -> Response:
    """Show entries, newest first."""
    here = desk(request)
    return render(
        request, "ledger.html", {**entries.entries(here.place, before), "proving": here.proving.state}
    )


@router.post("/ledger/verify")
def verify(request: Request, asks: Verifier) -> Response:
    """Begin to verify everything, unless that goes on already."""
    desk(request).proving.begin(asks.name)
    if wants_json(request):
        return render(request, "verify.html", {"proving": desk(request).proving.state}, 202)
    return RedirectResponse("/ledger/verify", 303)


@router.get("/ledger/verify")
def show_verify(request: Request, asks: Reader) -> Response:
    """Show how far the verifying is, or what it found."""
    return render(request, "verify.html", {"proving": desk(request).proving.state})


@router.get("/ledger/{number}")
def show_entry(request: Request, asks: Reader, number: Number) -> Response:
    """Show one entry."""
    return render(request, "entry.html", {**entries.entry(desk(request).place, number), "proof": None})


@router.get("/ledger/{number}/proof")
def show_proof(request: Request, asks: Reader, number: Number) -> Response:
    """Prove one entry: the whole ledger is read for it."""
    place = desk(request).place
    told = entries.entry(place, number)
    return render(request, "entry.html", {**told, "proof": entries.proof(place, number)})

"""What `counterfoil ledger ...` does: show entries, prove one, hand the whole out, sign the head, change the key."""

import base64
import shutil
import tempfile
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select

from counterfoil import ledger, terminal
from counterfoil.catalog import tables
from counterfoil.errors import InputError, UnknownError
from counterfoil.ledger import tree, verifier
from flows.place import Place, open_place


def show(last: int, noun: str | None) -> dict[str, Any]:
    """Return the newest entries, or those that speak of a noun, oldest first; and the head."""
    place = open_place()
    with place.catalog.reader.connect() as connection:
        head = ledger.head(connection)
        if noun is None:
            found = [body for _, body in ledger.entries(connection, max(0, head.size - last))]
        else:
            found = [body for _, body in ledger.entries(connection) if f'"{noun}"'.encode() in body][-last:]
    return {
        "size": head.size,
        "root": base64.b64encode(head.root).decode(),
        "entries": [orjson.loads(body) for body in found],
    }


def show_entries(told: dict[str, Any]) -> None:
    """Show a line per entry."""
    rows = [[entry["entry"], entry["at"], entry["verb"], said(entry)] for entry in told["entries"]]
    terminal.table("Ledger", ["entry", "at", "verb", "says"], rows)
    terminal.OUT.print(f"{told['size']:,} entries, root {told['root']}", highlight=False)


def said(entry: dict[str, Any]) -> str:
    """Return what an entry says, in a few words."""
    if entry["verb"] == "key":
        return f"key {entry['public'][:16]}… signs from here on"
    new = [noun["id"] for noun in entry.get("new", ())]
    more = f" and {len(new) - 3} more" if len(new) > 3 else ""
    return ", ".join(new[:3]) + more if new else "nothing new"


def prove(what: str) -> dict[str, Any]:
    """Return the proof that an entry, the entry of a noun, or a sealed receipt is in the ledger, under the newest signed head.

    UnknownError when there is no such entry, InputError when no checkpoint covers it yet or the receipt is not sealed yet.
    """
    return prove_in(open_place(), what)


def prove_in(place: Place, what: str) -> dict[str, Any]:
    """Prove it in an installation."""
    if what.startswith("receipt-"):
        held = place.receipts.proof(what)
        return {**held, **proof_of(place, f'"name":"{held["segment"]}"')}
    return proof_of(place, what)


def proof_of(place: Place, what: str) -> dict[str, Any]:
    """Return what proves the entry of a number or of a noun under the newest signed head; errors as `prove`."""
    with place.catalog.reader.connect() as connection:
        number, body = _entry(connection, what)
        size, note = _newest(place, ledger.head(connection).size)
        if number >= size:
            raise InputError(
                f"entry {number} is in no checkpoint yet; run `counterfoil ledger checkpoint`, then again"
            )
        leaves = ledger.leaves(connection, size)
    return {
        "entry": number,
        "line": body.decode(),
        "size": size,
        "root": base64.b64encode(tree.root(leaves)).decode(),
        "proof": [base64.b64encode(step).decode() for step in tree.inclusion(leaves, number)],
        "checkpoint": note,
    }


def show_proof(told: dict[str, Any]) -> None:
    """Show a proof as a person can follow it."""
    if "receipt" in told:
        shown = told["receipt"] or f"(erased; its hash was {told['leaf']})"
        terminal.OUT.print(shown, highlight=False, markup=False, soft_wrap=True)
        terminal.OUT.print(
            f"receipt at {told['place']} of {told['receipts']:,} below the root {told['segment_root']} of segment"
            f" {told['segment']}, by {len(told['segment_proof'])} hashes:",
            highlight=False,
        )
        for step in told["segment_proof"]:
            terminal.OUT.print(f"  {step}", highlight=False)
    terminal.OUT.print(told["line"], highlight=False, markup=False, soft_wrap=True)
    terminal.OUT.print(
        f"entry {told['entry']} of {told['size']:,} below the root {told['root']}, by {len(told['proof'])} hashes:",
        highlight=False,
    )
    for step in told["proof"]:
        terminal.OUT.print(f"  {step}", highlight=False)
    terminal.OUT.print(told["checkpoint"], highlight=False, markup=False)


def _entry(connection: Any, what: str) -> tuple[int, bytes]:
    if what.isdecimal():
        for number, body in ledger.entries(connection, int(what), int(what) + 1):
            return number, body
        raise UnknownError(f"the ledger has no entry {what}; it has {ledger.head(connection).size}")
    told = (what if what.startswith('"') else f'"id":"{what}"').encode()
    for number, body in ledger.entries(connection):
        if told in body:
            return number, body
    raise UnknownError(f"no entry of the ledger made {what!r}; list entries with `counterfoil ledger show`")


def _newest(place: Place, most: int) -> tuple[int, str]:
    notary = place.catalog.notary
    lines = [] if notary is None else notary.notes()
    held = [(head.size, orjson.loads(line)["note"]) for line, head in _read(lines) if head.size <= most]
    return max(held, key=lambda one: one[0], default=(0, ""))


def _read(lines: list[str]) -> list[tuple[str, verifier.Checkpoint]]:
    walk = verifier.Walk()
    return [(line, head) for line in lines for head in verifier.heads([line], walk)]


def export(folder: Path) -> dict[str, Any]:
    """Write entries, bodies, checkpoints, the first public key and the verifier into a new folder, whole or not at all.

    InputError when the folder is there already.
    """
    return export_of(open_place(), folder)


def export_of(place: Place, folder: Path) -> dict[str, Any]:
    """Write an installation's ledger out."""
    if folder.exists():
        raise InputError(f"{folder} is there already; name a folder that is not")
    if place.catalog.notary is not None:
        place.catalog.checkpoint()  # only what is signed is proven
    folder.parent.mkdir(parents=True, exist_ok=True)
    notes = [] if place.catalog.notary is None else place.catalog.notary.notes()
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
        half = Path(made) / "half"
        half.mkdir()
        size = _write(place, half)
        (half / verifier.CHECKPOINTS).write_text("".join(f"{line}\n" for line in notes), encoding="utf-8")
        shutil.copy(verifier.__file__, half / "verifier.py")
        half.rename(folder)
    return {"folder": str(folder), "entries": size, "checkpoints": len(notes)}


def _write(place: Place, folder: Path) -> int:
    walk = verifier.Walk()
    with place.catalog.reader.connect() as connection:
        with (folder / verifier.ENTRIES).open("wb") as file:
            for _, body in ledger.entries(connection):
                walk.see(body)
                file.write(body + b"\n")
        with (folder / verifier.BODIES).open("wb") as file:
            query = select(tables.NOUN.c.id, tables.NOUN.c.body).order_by(tables.NOUN.c.id)
            for row in connection.execution_options(yield_per=10_000).execute(query):
                file.write(f"{row.id} {row.body}\n".encode())
    if walk.keys:
        (folder / verifier.PUBLIC).write_bytes(verifier.pem_of(walk.keys[0][1]))
    return walk.tree.size


def show_export(told: dict[str, Any]) -> None:
    """Say what lies where, and how to prove it elsewhere."""
    terminal.OUT.print(
        f"{told['entries']:,} entries and {told['checkpoints']:,} checkpoints in {told['folder']}; prove them anywhere with"
        f" `python verifier.py . key.pem`, the key taken from you, not from there",
        highlight=False,
    )


def verify_export(folder: Path, key: Path) -> dict[str, Any]:
    """Prove an export with a public key; InputError when one of them cannot be read."""
    try:
        return verifier.verify_export(folder, verifier.public_of(key))
    except (OSError, ValueError) as fault:
        raise InputError(
            f"the export cannot be verified: {fault}; name a folder of `counterfoil ledger export`"
        ) from fault


def show_verified(told: dict[str, Any]) -> None:
    """Show what an export proves."""
    terminal.OUT.print(
        f"{told['entries']:,} entries, {told['signed']:,} of them signed, root {told['root']}",
        highlight=False,
    )
    for fault in told["faults"]:
        terminal.OUT.print(f"[red]altered[/] {fault}", highlight=False)
    good = "[bold green]verified[/]"
    terminal.OUT.print(good if told["verified"] else f"[bold red]{len(told['faults'])} faults[/]")


def checkpoint() -> dict[str, Any]:
    """Sign the head of now and hand it out."""
    return _head(open_place().catalog.checkpoint())


def rotate() -> dict[str, Any]:
    """Change the key."""
    return _head(open_place().catalog.change_key())


def _head(head: ledger.Head) -> dict[str, Any]:
    return {"size": head.size, "root": base64.b64encode(head.root).decode()}


def show_head(told: dict[str, Any]) -> None:
    """Say what was signed."""
    terminal.OUT.print(f"signed: {told['size']:,} entries, root {told['root']}", highlight=False)

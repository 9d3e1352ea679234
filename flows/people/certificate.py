"""The certificate of an erasure: what went, what remains and why, signed by the key that signs the ledger's heads.

The home keeps it without what opens the commitment; only the copy that is handed out has that. So the ledger can prove that the
certificate is genuine, and its holder that it is theirs, and nobody else learns whose it is.
"""

import base64
import hashlib
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from counterfoil.errors import InputError, UnknownError
from counterfoil.files import write_durably
from counterfoil.ledger import Notary, verifier
from counterfoil.types import Erasure
from flows import book
from flows.people.journal import Begun, commitment_of
from flows.place import Place

WHAT = "certificate of erasure"


def signed(notary: Notary, body: dict[str, Any]) -> dict[str, Any]:
    """Return a certificate's body with its signature (Ed25519 over its canonical JSON) and the public key, base64."""
    signature = notary.sign(verifier.encode({"what": WHAT, **body}))
    return {
        "certificate": {"what": WHAT, **body},
        "signature": base64.b64encode(signature).decode(),
        "key": base64.b64encode(notary.public()).decode(),
    }


def digest(told: dict[str, Any]) -> str:
    """Return the SHA-256 of what was signed: the ledger holds it."""
    return hashlib.sha256(verifier.encode(told["certificate"])).hexdigest()


def kept(place: Place, commitment: str) -> Path:
    """Return where the home keeps the certificate of an erasure."""
    return place.settings.home / "erasures" / f"{commitment[:16]}.json"


def handed_out(place: Place, told: dict[str, Any], begun: Begun, erasure: Erasure | None) -> dict[str, Any]:
    """Return the certificate as its holder gets it: with what opens it, and the proof that the ledger has it."""
    opening = {"person": begun.person, "nonce": begun.nonce}
    if erasure is None:
        return {**told, "opening": opening}
    with place.catalog.reader.connect() as connection:
        from sqlalchemy import select

        from counterfoil.catalog import tables

        body = connection.execute(
            select(tables.NOUN.c.body).where(tables.NOUN.c.id == erasure.id)
        ).scalar_one()
    return {**told, "opening": opening, "erasure": body, "proof": book.proof_of(place, erasure.id)}


def write(told: dict[str, Any], path: Path) -> None:
    """Write a certificate, and beside it the same as a text that anybody can read."""
    write_durably(path, orjson.dumps(told, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    write_durably(path.with_suffix(".txt"), text(told).encode())


def text(told: dict[str, Any]) -> str:
    """Return a certificate in sentences."""
    body = told["certificate"]
    lines = [
        "Certificate of erasure",
        "",
        f"On {body['at']} {body['by']} took away what was held about one person.",
        f"The person is named by the commitment {body['person']}.",
    ]
    if "opening" in told:
        lines.append(
            f"It opens with the pseudonym {told['opening']['person']} and the nonce {told['opening']['nonce']}."
        )
    lines += ["", "What was found and taken away:"]
    lines += [f"  {name}: {count}" for name, count in body["removed"].items()] or ["  nothing was held"]
    lines += ["", "What learned from them:"] + ([f"  {name}" for name in body["learned"]] or ["  nothing"])
    lines += ["", "What remains, and why:"] + ([f"  {said}" for said in body["remains"]] or ["  nothing"])
    lines += [
        "",
        f"SHA-256 of what was signed: {digest(told)}",
        f"Signature (Ed25519, base64): {told['signature']}",
        "",
    ]
    return "\n".join(lines)


def check(path: Path, key: Path) -> dict[str, Any]:
    """Say whether a certificate is genuine, offline, with the public key alone; InputError when it cannot be read.

    Checked are the signature, that the commitment opens, and that the ledger has the erasure under a signed head.
    """
    try:
        told, public = orjson.loads(path.read_bytes()), verifier.public_of(key)
        faults = _faults(told, public)
        body = told["certificate"]
        said = {name: body[name] for name in ("at", "by", "person", "removed", "learned", "remains")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise InputError(
            f"{path} cannot be checked ({fault}); name a certificate, and a public key in PEM"
        ) from fault
    return {
        "genuine": not faults,
        "faults": faults,
        "in_ledger": "proof" in told,
        "sha256": digest(told),
        **said,
    }


def _faults(told: dict[str, Any], public: bytes) -> list[str]:
    faults = []
    try:
        signature = base64.b64decode(told["signature"])
        Ed25519PublicKey.from_public_bytes(public).verify(signature, verifier.encode(told["certificate"]))
    except InvalidSignature:
        faults.append("the certificate is not signed by that key, or was altered")
    opening = told.get("opening")
    if opening and commitment_of(opening["nonce"], opening["person"]) != told["certificate"]["person"]:
        faults.append(
            "the pseudonym and the nonce do not open the commitment: this is somebody else's certificate"
        )
    return [*faults, *(_unproven(told, public) if "proof" in told else [])]


def _unproven(told: dict[str, Any], public: bytes) -> list[str]:
    """Return what is wrong with the proof that the ledger has the erasure of this certificate."""
    proof, body = told["proof"], told["erasure"]
    entry = verifier.decode(proof["line"].encode())
    digests = [noun["sha256"] for noun in entry["new"]]
    if orjson.loads(body)["sha256"] != digest(told):
        return ["the erasure in the ledger is that of another certificate"]
    if hashlib.sha256(body.encode()).hexdigest() not in digests:
        return ["the entry of the ledger is not that of this erasure"]
    head = verifier.read_note(proof["checkpoint"])
    steps = [base64.b64decode(step) for step in proof["proof"]]
    leaf = verifier.leaf_hash(proof["line"].encode())
    if not verifier.included(leaf, proof["entry"], head.size, steps, head.root):
        return ["the entry is not below the signed head"]
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(head.signature, head.signed)
    except InvalidSignature:
        return ["the head of the ledger is not signed by that key"]
    return []


def of_home(place: Place, name: str) -> dict[str, Any]:
    """Return a certificate that the home keeps. UnknownError when there is none of that name."""
    path = place.settings.home / "erasures" / f"{name}.json"
    if Path(name).name != name or not path.is_file():
        raise UnknownError(f"no certificate {name!r} is kept here; they lie in {path.parent}")
    told: dict[str, Any] = orjson.loads(path.read_bytes())
    return told

"""How an erasure enters the catalog and the ledger: through the recording seam, with its certificate signed and kept before."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.catalog import Made
from counterfoil.catalog.erased import erased
from counterfoil.errors import ConfigError
from counterfoil.ledger import Notary
from counterfoil.types import Erasure, Noun
from flows.people import certificate
from flows.people.journal import Begun
from flows.place import Place
from flows.steps import recorder


def notary_of(place: Place) -> Notary:
    """Return who signs. ConfigError without a notary."""
    if place.catalog.notary is None:
        raise ConfigError("this catalog was opened without a notary: nobody could sign the certificate")
    return place.catalog.notary


def certified(
    place: Place, begun: Begun, remains: Sequence[str], segments: dict[str, str]
) -> tuple[Erasure, dict[str, Any]]:
    """Sign the certificate, keep it, record the erasure; return both. What was signed before a kill is taken as it is."""
    path = certificate.kept(place, begun.commitment)
    if path.is_file():
        told: dict[str, Any] = orjson.loads(path.read_bytes())
    else:
        told = certificate.signed(
            notary_of(place),
            {
                "version": 1,
                "person": begun.commitment,
                "begun": begun.at,
                "at": canonical.utc_text(datetime.now(UTC)),
                "by": begun.by,
                "removed": begun.removed,
                "learned": list(begun.learned),
                "stored": list(begun.stored),
                "bentos": list(begun.bentos),
                "segments": segments,
                "remains": list(remains),
            },
        )
        certificate.write(told, path)
    return _recorded(place, told), told


def supplement(place: Place, commitment: str, tags: Sequence[str]) -> Erasure:
    """Record that bentos which an erasure had to leave are gone now. Done once more it changes nothing."""
    first = erased(place.catalog).by(commitment)
    path = certificate.kept(place, f"{commitment[:12]}-{canonical.sha256(sorted(tags))[:3]}")
    if path.is_file():
        return _recorded(place, orjson.loads(path.read_bytes()))
    told = certificate.signed(
        notary_of(place),
        {
            "version": 1,
            "person": commitment,
            "begun": canonical.utc_text(first.at) if first else "",
            "at": canonical.utc_text(datetime.now(UTC)),
            "by": first.by if first else "",
            "removed": {"bentos": len(tags)},
            "learned": [],
            "stored": [],
            "bentos": sorted(tags),
            "segments": {},
            "remains": [],
        },
    )
    certificate.write(told, path)
    return _recorded(place, told)


def _recorded(place: Place, told: dict[str, Any]) -> Erasure:
    body = told["certificate"]
    noun = Erasure(
        person=body["person"],
        at=canonical.utc_time(body["at"]),
        by=body["by"],
        removed=body["removed"],
        stored=tuple(body["stored"]),
        learned=tuple(body["learned"]),
        remains=tuple(body["remains"]),
        sha256=certificate.digest(told),
        segments=body["segments"],
        bentos=tuple(body["bentos"]),
    )

    def erase(person: str, sha256: str, learned: tuple[Noun, ...]) -> Made:
        """Record an erasure, made from what learned from the person."""
        return Made(nouns=(noun,))

    from_them = tuple(map(place.catalog.get, body["learned"]))
    made: Erasure = recorder(place).wrap(erase)(noun.person, noun.sha256, from_them)
    return made

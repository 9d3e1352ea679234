"""What erasures took away, as the catalog knows it: files of versions, bentos, receipts; and who learned from whom."""

from dataclasses import dataclass

from counterfoil.catalog.catalog import Catalog
from counterfoil.types import Erasure


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """All erasures, oldest first."""

    erasures: tuple[Erasure, ...]

    def of_version(self, address: str) -> dict[str, Erasure]:
        """Return the files of a stored version that are gone, and by which erasure each went first."""
        out: dict[str, Erasure] = {}
        for erasure in self.erasures:
            for name in erasure.stored:
                version, _, file = name.partition("/")
                if version == address:
                    out.setdefault(file, erasure)
        return out

    def bento(self, tag: str) -> Erasure | None:
        """Return by which erasure a bento went."""
        return next((erasure for erasure in self.erasures if tag in erasure.bentos), None)

    def segment(self, name: str) -> str | None:
        """Return the digest that a sealed segment has since receipts were last taken out of it."""
        found = [erasure.segments[name] for erasure in self.erasures if name in erasure.segments]
        return found[-1] if found else None

    def by(self, person: str) -> Erasure | None:
        """Return the erasure that names the person by this commitment."""
        return next((erasure for erasure in self.erasures if erasure.person == person), None)

    def learned(self, noun_id: str) -> Erasure | None:
        """Return an erasure of somebody from whom a noun learned."""
        return next((erasure for erasure in self.erasures if noun_id in erasure.learned), None)


def erased(catalog: Catalog) -> Erased:
    """Return what was erased so far."""
    return Erased(erasures=tuple(noun for noun, _ in catalog.recorded(Erasure)))

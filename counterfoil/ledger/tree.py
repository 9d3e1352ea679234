"""Proofs from leaves: that an entry is in the ledger, and that a ledger begins with an earlier one (RFC 9162, section 2.1)."""

from collections.abc import Sequence

from counterfoil.ledger.verifier import Frontier, node_hash


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes."""
    tree = Frontier()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion(leaves: Sequence[bytes], number: int) -> list[bytes]:
    """Return the hashes beside the way from leaf `number` up to the root; IndexError when there is no such leaf."""
    if not 0 <= number < len(leaves):
        raise IndexError(f"there is no leaf {number} among {len(leaves)}")
    path, at, row = [], number, list(leaves)
    while len(row) > 1:
        if (at ^ 1) < len(row):
            path.append(row[at ^ 1])
        row, at = _above(row), at >> 1
    return path


def consistency(leaves: Sequence[bytes], old: int) -> list[bytes]:
    """Return the proof that the first `old` leaves are those of a tree that was signed when there were no more."""
    if not 0 < old <= len(leaves):
        raise IndexError(f"there were never {old} leaves among {len(leaves)}")
    return [] if old == len(leaves) else _since(leaves, old, whole=True)


def _since(leaves: Sequence[bytes], old: int, *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if old <= half:
        return [*_since(leaves[:half], old, whole=whole), root(leaves[half:])]
    return [*_since(leaves[half:], old - half, whole=False), root(leaves[:half])]


def _above(row: list[bytes]) -> list[bytes]:
    """Return the row of parents; one without a neighbour goes up as it is."""
    pairs = [node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
    return pairs + row[-1:] if len(row) & 1 else pairs

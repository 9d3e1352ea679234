"""The ledger: every write of the catalog that matters as an entry, chained, signed, and checkpointed outside the database.

`tables` holds entries and the tree's peaks, `book` appends within the catalog's own transaction and reads, `notary` signs heads
and hands them to places outside, `tree` makes proofs, `verifier` proves an export with a public key alone.
"""

from counterfoil.ledger.book import Head, append, entries, head, leaves, peaks, rows
from counterfoil.ledger.notary import Notary

__all__ = ["Head", "Notary", "append", "entries", "head", "leaves", "peaks", "rows"]

"""What an event, an item and a person are, defined once.

The Arrow schema, the SQL that quarantines, the Great Expectations suite, the Feast fields and the HTTP schema are derived
from these tables or tested against them. A new column is one line here.
"""

from counterfoil.contracts.field import Contract, Field
from counterfoil.contracts.shop import EVENT, ITEM, KINDS, PERSON

__all__ = ["EVENT", "ITEM", "KINDS", "PERSON", "Contract", "Field"]

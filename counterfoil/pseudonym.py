"""People are pseudonyms outside the intake: a keyed digest of the name that the shop knows them by."""

import hashlib
import hmac


def pseudonym(person: str, key: str) -> str:
    """Return `p` and 20 hex digits of HMAC-SHA256(key, person); the same person and key always give the same one."""
    return "p" + hmac.new(key.encode(), person.encode(), hashlib.sha256).hexdigest()[:20]

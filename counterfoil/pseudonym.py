"""People are pseudonyms outside the intake: a keyed digest of the name that the shop knows them by."""

import hashlib
import hmac

from counterfoil.errors import ConfigError


def pseudonym(person: str, key: str) -> str:
    """Return `p` and 20 hex digits of HMAC-SHA256(key, person); the same person and key always give the same one."""
    return "p" + hmac.new(key.encode(), person.encode(), hashlib.sha256).hexdigest()[:20]


def of_session(session: str, key: str) -> str:
    """Return the pseudonym of a session: another one than that of a person who is called the same."""
    return pseudonym(f"session\0{session}", key)


def fingerprint(key: str) -> str:
    """Return what tells one key from another and gives none away: the pseudonym of nobody."""
    return pseudonym("", key)


def require_same(recorded: str | None, key: str, made: str) -> None:
    """Refuse a key other than the one that `made` was made with: it would split everybody in two.

    ConfigError on another one; where no fingerprint was recorded (None), any key will do.
    """
    if recorded is not None and recorded != fingerprint(key):
        raise ConfigError(
            f"COUNTERFOIL_PSEUDONYM_KEY has the fingerprint {fingerprint(key)}, but {made} was made with the key of fingerprint"
            f" {recorded}, so that everybody would be two people; set that key again, or begin with another COUNTERFOIL_HOME"
        )

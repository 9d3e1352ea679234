"""Who may do what: four roles, and the rights that each has. Nothing here knows a person."""

from enum import StrEnum
from typing import Literal, get_args

Role = Literal["viewer", "engineer", "approver", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)


class Right(StrEnum):
    """What a role may be allowed to do."""

    READ = "read"
    LEDGER = "read the ledger"
    PEOPLE = "read who a person is and what they did"
    VERIFY = "verify"
    EXPORT = "export what is held about a person"
    QUARANTINE = "quarantine"
    APPROVE = "approve a decision"
    PROMOTE = "promote a model"
    ROLLBACK = "roll back"
    FORGET = "forget a person"


_AUDITOR = frozenset({Right.READ, Right.LEDGER, Right.PEOPLE, Right.VERIFY, Right.EXPORT})
_ENGINEER = _AUDITOR | {Right.QUARANTINE}
RIGHTS: dict[Role, frozenset[Right]] = {
    "viewer": frozenset({Right.READ}),
    "engineer": _ENGINEER,
    "approver": _ENGINEER | {Right.APPROVE, Right.PROMOTE, Right.ROLLBACK, Right.FORGET},
    "auditor": _AUDITOR,
}


def may(role: Role, right: Right) -> bool:
    """Say whether a role has a right."""
    return right in RIGHTS[role]


def who_may(right: Right) -> str:
    """Return the roles that have a right, as part of a sentence."""
    return " or ".join(role for role in ROLES if may(role, right))

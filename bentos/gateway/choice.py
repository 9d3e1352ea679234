"""Who asks, and who answers: read off a body that is parsed once, for nothing else."""

from dataclasses import dataclass

import msgspec

from bentos.guard import MAX_DEPTH, Refusal, depth
from bentos.routes import Route, Routes


class Context(msgspec.Struct):
    """The part of a question's context that says who asks, undecoded."""

    session: msgspec.Raw = msgspec.Raw()
    channel: msgspec.Raw = msgspec.Raw()


class Question(msgspec.Struct):
    """The part of a question that says who asks, undecoded. The rest is checked for being JSON, and nothing is made of it."""

    person: msgspec.Raw = msgspec.Raw()
    context: msgspec.Raw = msgspec.Raw()


NO_CONTEXT = Context()
QUESTION, CONTEXT = msgspec.json.Decoder(Question), msgspec.json.Decoder(Context)


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What the gateway reads of a question.

    `who` is what an assignment sticks to: it is hashed, and never written down. None: nobody to stick to.
    """

    who: str | None
    channel: str | None


def asked(body: bytes) -> Asked:
    """Read a question: the person sticks, else the session, else nothing. Refusal when it is no JSON object.

    Who calls says nothing of who asks: a shop's back end asks for all its visitors from one address, with one key.
    Fields of a wrong type stick to nothing: the service says what is wrong with them.
    """
    if depth(body) > MAX_DEPTH:
        raise Refusal(400, "depth", f"the body nests deeper than {MAX_DEPTH} levels; flatten it")
    try:
        read = QUESTION.decode(body)
        context = CONTEXT.decode(read.context) if bytes(read.context)[:1] == b"{" else NO_CONTEXT
        person, session, channel = map(_text, (read.person, context.session, context.channel))
    except msgspec.ValidationError:
        raise Refusal(422, "request", "the body is no JSON object; send one") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refusal(422, "request", f"the body is no JSON ({fault}); send one JSON object") from None
    who = None
    if person is not None:
        who = f"person\0{person}"
    elif session is not None:
        who = f"session\0{session}"
    return Asked(who=who, channel=channel)


def _text(value: msgspec.Raw) -> str | None:
    """Return a text that is not empty; None of anything else."""
    text = bytes(value)
    return (msgspec.json.decode(text, type=str) or None) if text[:1] == b'"' else None


def propensity(routes: Routes, route: Route) -> float:
    """Return the chance with which somebody, or a question of nobody, comes to that release."""
    challenger = routes.challenger
    if challenger is None or challenger.share <= 0:
        return 1.0
    return challenger.share if route is challenger else 1.0 - challenger.share

"""Why an item stands where it stands in an answer: asked of the archived bento, told to a person."""

from typing import Any

from counterfoil import canonical, terminal
from counterfoil.errors import IntegrityError, UnavailableError, UnknownError
from counterfoil.terminal import Stages
from counterfoil.types import Receipt
from flows.archived import NotArchived, archived, other_libraries
from flows.copied import is_copied, origin_of
from flows.draw import Replayed, named
from flows.place import Place, open_place
from flows.replay import altered, recall
from flows.sameness import SAME, judge

HELD = "where history is left out, the person's totals (baskets, spend ...) are kept as they were"
PARTS = 8  # of a score that are shown to a person, the largest


def why(receipt_id: str, item: str | None, stages: Stages) -> dict[str, Any]:
    """Return why the items of an answer, or one of them, stand where they stand, and how the answer made anew compares.

    UnknownError for a receipt or item that is not there; IntegrityError when receipt or bento was altered; UnavailableError
    when what is needed to ask is gone, or no model made the answer.
    """
    place = open_place()
    stub = _sound(place, receipt_id)
    if is_copied(stub):
        raise UnavailableError(
            f"{stub.id} was copied from {origin_of(stub)}, since the service was away, and no model made it; ask why of that one"
        )
    _require_item(stub, item)
    with stages.stage("person"), recall(place) as remembered:
        person, rules = remembered.person(stub), remembered.rules(stub)
    if person.missing is not None:
        raise UnavailableError(f"{person.missing}; without that nobody can say why")
    try:
        with stages.stage("ask", stub.bento), archived(place, stub) as child:
            plain = canonical.plain(stub)
            kind, detail = judge(stub, child.answer(plain, person.view, rules))
            told = child.why(plain, person.view, item, rules)
    except NotArchived as fault:
        known = {"bento altered": IntegrityError}.get(fault.kind, UnavailableError)
        raise known(f"{fault.kind}: {fault}; without that bento nobody can say why") from fault
    return {
        "id": stub.id,
        "time": stub.time,
        "person": stub.person,
        "bento": stub.bento,
        "release": stub.release,
        "replayed": {"class": kind, "detail": detail, "same": kind == SAME},
        "found": person.found,
        "notes": [*other_libraries(place, stub.bento), *person.notes, HELD],
        "n": told["n"],
        "items": told["items"],
    }


def _sound(place: Place, receipt_id: str) -> Receipt:
    """Return a receipt that can be read, and is what was sealed. IntegrityError when not."""
    stub = named(place.receipts, receipt_id)
    odd = [stub] if isinstance(stub, Replayed) else altered(place, [stub])
    if odd or isinstance(stub, Replayed):
        raise IntegrityError(f"{receipt_id} was altered: {odd[0].detail}; run `counterfoil verify`")
    return stub


def _require_item(stub: Receipt, item: str | None) -> None:
    shown = [one.item for one in stub.items]
    if item is not None and item not in shown:
        raise UnknownError(
            f"{item} is not among the items of {stub.id}; it shows {', '.join(shown) or 'nothing'}"
        )


def show(told: dict[str, Any]) -> None:
    """Show the reasons, the parts of the score, and what would move each item."""
    terminal.OUT.print(
        f"[bold]{told['id']}[/] of {told['time']:%Y-%m-%d %H:%M:%S} UTC, for {told['person']}, by {told['bento']}",
        highlight=False,
        soft_wrap=True,
    )
    if not told["replayed"]["same"]:
        terminal.OUT.print(
            f"[red]made anew it is not the same[/]: {told['replayed']['class']}, {told['replayed']['detail']}",
            highlight=False,
            soft_wrap=True,
        )
    for one in told["items"]:
        _show_item(one)
    for note in told["notes"]:
        terminal.OUT.print(f"[dim]note[/] {note}", highlight=False, soft_wrap=True)


def _show_item(one: dict[str, Any]) -> None:
    _say(
        f"\n{one['place']}. {one['title']} ({one['item']}), score {one['score']:.6g}, proposed by {', '.join(one['sources'])}"
    )
    for reason in one["reasons"]:
        _say(f"   because: {reason['said']} {_evidence(reason)}".rstrip())
    if one["explanation"] is None:
        _say("   the model left the list short; it is there because it sells")
    else:
        _show_parts(one["explanation"])
    for moved in (one["without"], one["change"]):
        if moved is not None:
            _say(f"   {moved['said']}")


def _evidence(reason: dict[str, Any]) -> str:
    """Return what a reason rests on, in brackets."""
    days = [f"{line['time'][:10]} ({line['quantity']:g})" for line in reason["purchases"]]
    if days:
        title = reason["purchases"][0]["title"]
        more = "" if len(days) <= 3 else f" and {len(days) - 3} more"
        return f"[{title}: {', '.join(days[:3])}{more}{_counted(reason)}]"
    return f"[{_counted(reason).removeprefix('; ')}]" if _counted(reason) else ""


def _counted(reason: dict[str, Any]) -> str:
    counts = reason["counts"]
    said = {
        "together": "; taken on one day {days_together} times",
        "shelf": "; {share_of_history:.0%} of what was taken",
        "selling": "; place {place}, taken {taken} times in {days} days",
        "new": "; since {since}",
    }.get(reason["kind"], "")
    return said.format(**counts)


def _show_parts(how: dict[str, Any]) -> None:
    """Show the largest parts of a score, and who proposed the item."""
    if how["total"] is None:
        _say(f"   {how['said']}")
    else:
        shown = [f"{_part(part)} {part['added']:+.4g}" for part in how["parts"][:PARTS]]
        rest = sum(part["added"] for part in how["parts"][PARTS:])
        more = [f"{len(how['parts']) - PARTS} others {rest:+.4g}"] if len(how["parts"]) > PARTS else []
        _say(f"   {how['said']} ({how['method']}):")
        _say(f"   {how['total']:.6g} = {how['bias']:.4g} and {', '.join([*shown, *more])}")
        if how["adds_up"] is False:
            _say("   these parts do not add up to it: do not trust them")
    for one in how["members"]:
        _say(f"   {one['member']} has it at place {one['place']}, by {one['score']:.4g}")


def _part(part: dict[str, Any]) -> str:
    if "title" in part:
        return f"{part['title']} ({part['value']:.3g} taken)"
    return f"{part['name']} ({'absent' if part['value'] is None else format(part['value'], '.4g')})"


def _say(text: str) -> None:
    terminal.OUT.print(text, highlight=False, markup=False, soft_wrap=True)

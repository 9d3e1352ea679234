"""The chain behind a noun or a receipt as W3C PROV-JSON: entities, activities with their times, agents, and what joins them.

Entities are nouns (and a receipt), activities are passages of verbs through the recording seam, agents are the code, the gate and
who approved. PROV-DM: https://www.w3.org/TR/prov-dm/; PROV-JSON: https://www.w3.org/submissions/prov-json/. Equal catalogs give
equal bytes.
"""

import re
from datetime import timedelta
from typing import Any

import orjson

from counterfoil import canonical
from counterfoil.catalog import codec
from counterfoil.catalog.lineage import SHOWN, backwards
from counterfoil.types import Approval, Decision, Noun, OnlineRows, Receipt
from flows.place import Place

PREFIXES = {
    "cf": "urn:counterfoil:",
    "prov": "http://www.w3.org/ns/prov#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
Document = dict[str, dict[str, Any]]


def document(place: Place, thing: str) -> Document:
    """Return the chain behind a noun's or a receipt's id as a PROV-JSON document. UnknownError when there is no such thing."""
    nouns, stub = _chain(place, thing)
    graph = _Graph()
    for noun in nouns.values():
        graph.element("entity", noun.id, {"prov:type": _name(noun.kind.capitalize()), **_told(noun)})
    _derivations(place, graph, nouns)
    _activities(place, graph, nouns)
    _decisions(place, graph, nouns)
    if stub is not None:
        _answer(place, graph, nouns, stub)
    return graph.document()


def encode(made: Document) -> bytes:
    """Return a document's bytes, keys sorted."""
    return orjson.dumps(made, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2) + b"\n"


def _chain(place: Place, thing: str) -> tuple[dict[str, Noun], Receipt | None]:
    """Return everything that the thing was made from, by id, and the receipt when it is one."""
    if thing.split("-")[0] in codec.NOUNS:
        return {step.noun.id: step.noun for step in backwards(place.catalog, thing)}, None
    stub = place.receipts.find(thing)
    ends = [stub.release, *_online(place, stub)]
    return {step.noun.id: step.noun for end in ends for step in backwards(place.catalog, end)}, stub


def _online(place: Place, stub: Receipt) -> list[str]:
    """Return the rows of the online store that the person's features came from: the newest of their moment."""
    recorded = place.catalog.recorded(OnlineRows, stub.use_case)
    rows = [rows.id for rows, _ in recorded if rows.as_of == stub.feature_time]
    return rows[-1:]


def _derivations(place: Place, graph: "_Graph", nouns: dict[str, Noun]) -> None:
    for child in nouns:
        for parent in sorted({parent for _, parent in place.catalog.parents(child)}):
            graph.join("wasDerivedFrom", generatedEntity=child, usedEntity=parent)


def _activities(place: Place, graph: "_Graph", nouns: dict[str, Noun]) -> None:
    """Tell of the passages that made the nouns: each noun by the first that returned it."""
    made: set[str] = set()
    for done in place.catalog.passages():
        mine = [name for name in done["nouns"] if name in nouns and name not in made]
        if not mine:
            continue
        made.update(mine)
        activity = f"{done['verb']}-{done['key'][:16]}"
        began = done["recorded_at"] - timedelta(seconds=done["seconds"])
        about = {
            "prov:type": _name(done["verb"].capitalize()),
            "prov:startTime": canonical.utc_text(began),
            "prov:endTime": canonical.utc_text(done["recorded_at"]),
            "cf:key": done["key"],
        }
        graph.element("activity", activity, about)
        for name in mine:
            graph.join("wasGeneratedBy", entity=name, activity=activity)
        for parent in sorted({parent for name in mine for _, parent in place.catalog.parents(name)}):
            graph.join("used", activity=activity, entity=parent)
        for code in sorted({getattr(nouns[name], "code_version", "") for name in mine} - {""}):
            agent = _code(graph, code)
            graph.join("wasAssociatedWith", activity=activity, agent=agent)
        if done["verb"] == "decide":
            _gate(graph, activity, nouns[mine[0]])


def _gate(graph: "_Graph", activity: str, decision: Noun) -> None:
    """Associate the gate, which decides, with the activity in which it did."""
    if isinstance(decision, Decision):
        graph.join("wasAssociatedWith", activity=activity, agent=_gate_of(graph, decision))


def _gate_of(graph: "_Graph", decision: Decision) -> str:
    about = {"prov:type": _name("SoftwareAgent", "prov"), "cf:sha256": decision.gate}
    return graph.element("agent", f"gate-{decision.gate[:16]}", about)


def _code(graph: "_Graph", version: str) -> str:
    about = {"prov:type": _name("SoftwareAgent", "prov"), "cf:code_version": version}
    return graph.element("agent", f"code-{_slug(version)}", about)


def _decisions(place: Place, graph: "_Graph", nouns: dict[str, Noun]) -> None:
    """Attribute decisions to who answers for them: the gate, and people who approved."""
    decisions = [noun for noun in nouns.values() if isinstance(noun, Decision)]
    approvals = [one for one, _ in place.catalog.recorded(Approval)] if decisions else []
    for decision in decisions:
        people = {one.by for one in approvals if one.decision == decision.id}
        if decision.approved_by == "gate":
            graph.join("wasAttributedTo", entity=decision.id, agent=_gate_of(graph, decision))
        else:
            people.add(decision.approved_by)
        for person in sorted(people):
            about = {"prov:type": _name("Person", "prov"), "cf:name": person}
            agent = graph.element("agent", f"approver-{_slug(person)}-{canonical.sha256(person)[:8]}", about)
            graph.join("wasAttributedTo", entity=decision.id, agent=agent)


def _answer(place: Place, graph: "_Graph", nouns: dict[str, Noun], stub: Receipt) -> None:
    """Tell of the answer that a receipt is the stub of; nothing of the person whom it was for."""
    when = canonical.utc_text(stub.time)
    graph.element("entity", stub.id, {"prov:type": _name("Receipt"), "cf:use_case": stub.use_case})
    activity = graph.element(
        "activity",
        f"answer-{stub.id}",
        {"prov:type": _name("Answer"), "prov:startTime": when, "prov:endTime": when},
    )
    graph.join("wasGeneratedBy", entity=stub.id, activity=activity)
    for source in [stub.release, *_online(place, stub)]:
        graph.join("used", activity=activity, entity=source)
        graph.join("wasDerivedFrom", generatedEntity=stub.id, usedEntity=source)


class _Graph:
    """A document in the making: elements by name, relations once each."""

    def __init__(self) -> None:
        self.elements: dict[str, dict[str, Any]] = {"entity": {}, "activity": {}, "agent": {}}
        self.relations: dict[str, set[tuple[tuple[str, str], ...]]] = {}

    def element(self, kind: str, name: str, about: dict[str, Any]) -> str:
        """Add an entity, an activity or an agent; returns its name."""
        self.elements[kind][f"cf:{name}"] = about
        return name

    def join(self, relation: str, **ends: str) -> None:
        """Add a relation between elements."""
        self.relations.setdefault(relation, set()).add(
            tuple((f"prov:{end}", f"cf:{name}") for end, name in ends.items())
        )

    def document(self) -> Document:
        """Return it as PROV-JSON has it: relations under blank names, numbered in order."""
        told: Document = {"prefix": PREFIXES, **{kind: held for kind, held in self.elements.items() if held}}
        for relation, found in sorted(self.relations.items()):
            told[relation] = {
                f"_:{relation}{number}": dict(ends) for number, ends in enumerate(sorted(found), start=1)
            }
        return told


def _told(noun: Noun) -> dict[str, Any]:
    """Return what is told of a noun: what a person wants to see of it in a chain, moments as xsd:dateTime."""
    shown = {name: getattr(noun, name) for name in SHOWN if hasattr(noun, name)}
    said = {name: value for name, value in canonical.plain(shown).items() if _is_told(value)}
    times = {"as_of", "first_time", "last_time"}
    return {
        f"cf:{name}": {"$": value, "type": "xsd:dateTime"} if name in times else value
        for name, value in said.items()
    }


def _is_told(value: Any) -> bool:
    return isinstance(value, str | int | float | bool) and value != ""


def _name(name: str, prefix: str = "cf") -> dict[str, str]:
    return {"$": f"{prefix}:{name}", "type": "prov:QUALIFIED_NAME"}


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")

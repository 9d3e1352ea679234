"""What the command line's verbs do, and how a person is shown what came of it. Arguments in, plain values out."""

from pathlib import Path
from typing import Any

from counterfoil import terminal
from counterfoil.catalog import Outcome
from counterfoil.terminal import Stages
from counterfoil.types import Candidate, Decision, Evaluation
from flows.place import Place, open_place


def import_data(kind: str, path: Path | None, mapping: Path | None, stages: Stages) -> Any:
    """Land a source."""
    from counterfoil.importers import open_source
    from counterfoil.landing import land

    place = open_place()
    with stages.stage("land", kind):
        return land(open_source(kind, path, mapping=mapping), place.settings, stages.advance)


def show_landed(landed: Any) -> None:
    """Show what a landing did."""
    if landed.already:
        terminal.OUT.print(
            f"This very source has landed before as batch {landed.batch}; nothing was changed."
        )
    terminal.OUT.print(
        f"{landed.rows_in:,} rows in = {landed.landed:,} landed + {landed.duplicates:,} duplicates"
        f" + {landed.quarantined:,} quarantined; {len(landed.days)} days, {landed.items:,} items, {landed.people:,} people"
        f" in {landed.seconds:.1f} s"
    )
    for reason, count in sorted(landed.reasons.items()):
        terminal.OUT.print(f"  quarantined: {reason}: {count:,}")


def list_data() -> dict[str, Any]:
    """Return what has landed."""
    from counterfoil.landing import read_manifest

    manifest = read_manifest(open_place().settings)
    return {
        "events": manifest.rows,
        "days": {day: part.rows for day, part in manifest.days.items()},
        "items": manifest.items.rows if manifest.items else 0,
        "people": manifest.people.rows if manifest.people else 0,
        "digest": manifest.digest,
        "batches": list(manifest.batches),
    }


def show_data(listed: dict[str, Any]) -> None:
    """Show what has landed."""
    days = sorted(listed["days"])
    span = f"{days[0]} .. {days[-1]}" if days else "no day yet"
    terminal.OUT.print(
        f"{listed['events']:,} events on {len(days)} days ({span}), {listed['items']:,} items, {listed['people']:,} people"
    )
    rows = [[b.batch, b.name, b.rows_in, b.landed, b.duplicates, b.quarantined] for b in listed["batches"]]
    terminal.table("Batches", ["batch", "source", "rows in", "landed", "duplicates", "quarantined"], rows)


def run(
    use_case: str, as_of: str | None, stages: Stages, sources: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Turn the loop once: at a glance when nothing changed, else as a Prefect flow."""
    from flows.running import nothing_to_do

    place = open_place()
    known = nothing_to_do(place, use_case, as_of) if not sources else "land"
    if not isinstance(known, str):
        advanced, said = known
        return {
            **_turned(place, advanced.decision, advanced.release.id if advanced.release else None),
            "ran": [],
            "skipped": said,
        }
    return _flow(place, use_case, as_of, stages, sources or [])


def _flow(
    place: Place, use_case: str, as_of: str | None, stages: Stages, sources: list[dict[str, str]]
) -> dict[str, Any]:
    with stages.stage("prefect", "starts"):
        from flows import lifecycle
    outcomes: list[Outcome] = []

    def on_end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        stages.done(
            outcome.verb, outcome.label, outcome.seconds, "[dim]remembered[/]" if outcome.skipped else ""
        )

    made = lifecycle.advance_here(place, use_case, as_of, sources, on_start=stages.start, on_end=on_end)
    decision = place.catalog.get(made["decision"])
    assert isinstance(decision, Decision)
    return {
        **_turned(place, decision, made["release"]),
        "ran": [f"{o.verb} {o.label}".strip() for o in outcomes if not o.skipped],
        "skipped": [
            f"{o.verb} {o.label}".strip() + ": done before with the same inputs and code"
            for o in outcomes
            if o.skipped
        ],
    }


def _turned(place: Place, decision: Decision, release: str | None) -> dict[str, Any]:
    return {
        "dataset": decision.dataset,
        "contenders": list(decision.comparisons),
        "decision": {
            "id": decision.id,
            "verb": decision.verb,
            "winner": decision.winner,
            "sentences": list(decision.sentences),
        },
        "release": release,
    }


def show_turn(turned: dict[str, Any]) -> None:
    """Show contenders, the decision in sentences, the release, and what was skipped."""
    for reason in turned["skipped"]:
        terminal.OUT.print(f"[dim]skipped {reason}[/]", highlight=False)
    rows = [
        [
            c.family,
            c.value,
            f"{c.low:.4f} .. {c.high:.4f}",
            c.difference,
            _interval(c),
            c.noise,
            "; ".join(c.breaches) or "none",
        ]
        for c in sorted(turned["contenders"], key=lambda c: -c.value)
    ]
    terminal.table(
        "Contenders", ["family", "value", "95%", "difference", "95%", "noise", "guardrails broken"], rows
    )
    for sentence in turned["decision"]["sentences"]:
        terminal.OUT.print(sentence, highlight=False)
    terminal.OUT.print(
        f"[bold]{turned['decision']['verb']}[/] ({turned['decision']['id']})"
        + (f" -> {turned['release']}" if turned["release"] else "")
    )


def _interval(comparison: Any) -> str:
    if comparison.difference_low is None:
        return "-"
    return f"{comparison.difference_low:+.4f} .. {comparison.difference_high:+.4f}"


def list_models(use_case: str | None) -> dict[str, Any]:
    """Return candidates with what was measured of them, and releases."""
    catalog = open_place().catalog
    measured = {
        evaluation.candidate: evaluation for evaluation in reversed(catalog.find(Evaluation, use_case))
    }
    rows = []
    for candidate in catalog.find(Candidate, use_case):
        evaluation = measured.get(candidate.id)
        rows.append(
            {
                "candidate": candidate.id,
                "family": candidate.family,
                "seed": candidate.seed,
                "dataset": candidate.dataset,
                "metrics": evaluation.metrics if evaluation else {},
                "fit_seconds": candidate.fit_seconds,
                "artefact_bytes": candidate.artefact_bytes,
            }
        )
    return {"candidates": rows, "releases": catalog.releases(use_case)}


def show_models(listed: dict[str, Any]) -> None:
    """Show candidates and releases."""
    rows = [
        [
            c["candidate"],
            c["family"],
            c["seed"],
            c["metrics"].get("ndcg@10"),
            c["metrics"].get("coverage@10"),
            c["fit_seconds"],
            c["artefact_bytes"],
        ]
        for c in listed["candidates"]
    ]
    terminal.table(
        "Candidates", ["candidate", "family", "seed", "ndcg@10", "coverage@10", "fit s", "bytes"], rows
    )
    rows = [
        [r["id"], r["use_case"], r["epoch"], r["stage"], r["valid_from"], r["valid_to"]]
        for r in listed["releases"]
    ]
    terminal.table("Releases", ["release", "use case", "epoch", "stage", "from", "to"], rows)

"""What the command line's verbs do, and how a person is shown what came of it. Arguments in, plain values out."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterfoil import terminal
from counterfoil.catalog import Outcome, codec
from counterfoil.catalog.erased import Erased, erased
from counterfoil.catalog.lineage import Step, backwards, summary
from counterfoil.errors import InputError, UnavailableError, UnknownError
from counterfoil.files import write_durably
from counterfoil.terminal import Stages
from counterfoil.types import Candidate, Decision, Evaluation, OnlineRows, Receipt
from flows.place import Place, open_place
from flows.report import turn as report
from flows.standards import openlineage


def run(
    use_case: str, as_of: str | None, stages: Stages, sources: list[dict[str, str]] | None = None
) -> dict[str, Any]:
    """Turn the loop once: at a glance when nothing changed, else as a Prefect flow."""
    from flows import collecting
    from flows.people import retrain
    from flows.running import nothing_to_do

    place = open_place()
    openlineage.line_of(place.settings).settle()
    collecting.collect(place)
    known = nothing_to_do(place, use_case, as_of) if not sources else "land"
    if not isinstance(known, str):
        advanced, said = known
        retrain.finish(place, use_case)
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
    """Return a decision as it is told, with the page that it is told on."""
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
        "report": str(report.write(place, decision)),
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
        terminal.OUT.print(sentence, highlight=False, markup=False)
    terminal.OUT.print(
        f"[bold]{turned['decision']['verb']}[/] ({turned['decision']['id']})"
        + (f" -> {turned['release']}" if turned["release"] else "")
    )
    terminal.OUT.print(f"report: {turned['report']}", highlight=False, markup=False, soft_wrap=True)


def _interval(comparison: Any) -> str:
    if comparison.difference_low is None:
        return "-"
    return f"{comparison.difference_low:+.4f} .. {comparison.difference_high:+.4f}"


def compare(use_case: str, html: Path | None = None) -> dict[str, Any]:
    """Return the newest decision of a use case; write its page to `html` too. UnknownError when nothing was decided yet."""
    place = open_place()
    decisions = place.catalog.find(Decision, use_case, limit=1)
    if not decisions:
        raise UnknownError(f"nothing was decided for {use_case!r} yet; run `counterfoil run {use_case}`")
    turned = _turned(place, decisions[0], _release_of(place, decisions[0]))
    if html is not None:
        copy_page(Path(turned["report"]).read_bytes(), html)
    return {**turned, **({"report": str(html)} if html is not None else {}), "ran": [], "skipped": []}


def copy_page(page: bytes, to: Path) -> None:
    """Write a page where it is wanted. InputError when there is no such folder."""
    if to.is_dir() or not to.absolute().parent.is_dir():
        raise InputError(f"{to} cannot be written; name a file in a folder that exists")
    write_durably(to, page)


def _release_of(place: Place, decision: Decision) -> str | None:
    found = [child for _, child in place.catalog.children(decision.id) if child.startswith("release-")]
    return found[0] if found else None


def receipt(receipt_id: str) -> Receipt:
    """Return the stub of an answer. UnknownError when there is none of that id, or none any more."""
    from counterfoil.receipts import Erased as ErasedReceipt

    place = open_place()
    try:
        return place.receipts.find(receipt_id)
    except ErasedReceipt as gone:
        erasure = erased(place.catalog).by(gone.person)
        when = f"on {erasure.at:%Y-%m-%d %H:%M} UTC" if erasure else "by an erasure that is not finished"
        certificate = f" ({erasure.id}, certificate {erasure.sha256})" if erasure else ""
        raise UnknownError(
            f"{receipt_id} was erased {when} with all that was held about its person{certificate}; only its hash is left, and"
            f" `counterfoil ledger prove {receipt_id}` proves that"
        ) from gone


def show_receipt(stub: Receipt) -> None:
    """Show a receipt to a person."""
    terminal.OUT.print(
        f"[bold]{stub.id}[/] of {stub.time:%Y-%m-%d %H:%M:%S} UTC, for {stub.person or 'somebody unknown'}",
        highlight=False,
    )
    terminal.OUT.print(
        f"answered by {stub.release} (epoch {stub.epoch}, {stub.bento}), arm {stub.arm}, propensity {stub.propensity:g}",
        highlight=False,
    )
    known = (
        f"features as of {stub.feature_time:%Y-%m-%d %H:%M} UTC"
        if stub.feature_time
        else "no features of the person"
    )
    terminal.OUT.print(
        f"{known}; degraded: {', '.join(stub.degraded) or 'no'}; rules: {', '.join(stub.rules) or 'none'}",
        highlight=False,
    )
    rows = [[item.item, item.score, ", ".join(item.sources), "; ".join(item.reasons)] for item in stub.items]
    terminal.table("Items", ["item", "score", "sources", "reasons"], rows)


def lineage(noun_id: str) -> dict[str, Any]:
    """Walk back from a noun, or from a receipt by way of its release."""
    place = open_place()
    start, stub = noun_id, None
    if "-" not in noun_id or noun_id.split("-")[0] not in codec.NOUNS:
        stub = receipt(noun_id)
        start = stub.release
    steps = backwards(place.catalog, start)
    gone = erased(place.catalog)
    chain = [
        {
            "id": step.id,
            "kind": step.kind,
            "depth": step.depth + (stub is not None),
            "made": list(step.via),
            **summary(step),
            **_lost(gone, step),
        }
        for step in steps
    ]
    if stub is not None:
        chain.extend(_online_rows(place, stub))
        chain.insert(0, {"id": stub.id, "kind": "receipt", "depth": 0, "made": [], "time": stub.time})
    return {"of": noun_id, "chain": chain}


def _lost(gone: Erased, step: Step) -> dict[str, Any]:
    """Say what of a noun's stored version was erased, and by what."""
    files = gone.of_version(summary(step).get("address", ""))
    return {"erased": sorted({erasure.id for erasure in files.values()})} if files else {}


def _online_rows(place: Place, stub: Receipt) -> list[dict[str, Any]]:
    """Return the chain of the person's features: they may come from a later dataset than the model's."""
    rows = [rows for rows in place.catalog.find(OnlineRows, stub.use_case) if rows.as_of == stub.feature_time]
    if not rows:
        return []
    return [
        {
            "id": step.id,
            "kind": step.kind,
            "depth": step.depth + 1,
            "made": [stub.id],
            **summary(step),
        }
        for step in backwards(place.catalog, rows[0].id)
        if step.kind in ("online", "dataset")
    ]


def show_lineage(walked: dict[str, Any]) -> None:
    """Show the chain, verdicts counted instead of listed."""
    verdicts = [step for step in walked["chain"] if step["kind"] == "verdict"]
    for step in walked["chain"]:
        if step["kind"] != "verdict":
            about = ", ".join(
                f"{k}={_short(v)}"
                for k, v in step.items()
                if k not in ("id", "kind", "depth", "made") and v is not None
            )
            terminal.OUT.print(
                "  " * step["depth"] + f"[bold]{step['id']}[/] [dim]{about}[/]",
                highlight=False,
                soft_wrap=True,
            )
    if verdicts:
        passed = sum(step["passed"] for step in verdicts)
        terminal.OUT.print(
            f"  verdicts: {passed} of {len(verdicts)} passed, over {sum(s['rows'] for s in verdicts):,} rows"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:16] + "…"


def seal(stages: Stages, quiet_minutes: float) -> dict[str, Any]:
    """Seal the receipts that are done with."""
    from flows.sealing import seal as seal_receipts

    place = open_place()
    with stages.stage("seal"), openlineage.stage(place, "seal"):
        return seal_receipts(place, stages.advance, quiet_seconds=60 * quiet_minutes)


def show_sealed(found: dict[str, Any]) -> None:
    """Say what was sealed."""
    terminal.OUT.print(f"sealed {found['receipts']:,} receipts in {found['segments']:,} segments")


def verify(stages: Stages) -> dict[str, Any]:
    """Recompute every digest."""
    from flows.verify import verify as recompute

    with stages.stage("verify"):
        return recompute(open_place(), lambda what, count: stages.advance("verify", count))


def show_verified(found: dict[str, Any]) -> None:
    """Show what was checked, and each fault."""
    terminal.OUT.print(
        ", ".join(f"{count:,} {kind}" for kind, count in found["checked"].items()) + " checked"
    )
    for fault in found["faults"]:
        terminal.OUT.print(f"[red]altered[/] {fault}", highlight=False)
    for note in found["notes"]:
        terminal.OUT.print(f"[dim]note[/] {note}", highlight=False)
    terminal.OUT.print(
        "[bold green]verified[/]" if found["verified"] else f"[bold red]{len(found['faults'])} faults[/]"
    )


def restore(address: str, folder: Path) -> dict[str, Any]:
    """Lay out a stored version by its noun or address. InputError when the folder is there already."""
    place = open_place()
    if folder.exists():
        raise InputError(f"{folder} exists; name a folder that does not")
    if not address.endswith(".dir"):
        address = getattr(place.catalog.get(address), "address", "")
    stored = place.catalog.stored(address)
    place.laid_out(stored.address, stored.sha256, folder)
    return {
        "address": stored.address,
        "sha256": stored.sha256,
        "folder": str(folder),
        "files": sorted(stored.manifest),
    }


def show_restored(restored: dict[str, Any]) -> None:
    """Show what was laid out."""
    terminal.OUT.print(
        f"{restored['address']} is in {restored['folder']}: {len(restored['files'])} files, SHA-256 manifest checked"
    )


def schedule() -> dict[str, Any]:
    """Register the deployments with the Prefect server that runs here, or the one that the settings name."""
    from counterfoil import settings
    from counterfoil.processes import Processes
    from flows import machine

    place = open_place()
    server = Processes(place.settings.home).running().get("prefect-server")
    if server is None and place.settings.prefect_api_url is None:
        raise UnavailableError(
            "no Prefect server runs here; start one with `counterfoil up`, or set COUNTERFOIL_PREFECT_API_URL"
        )
    if server is not None:
        settings.use_prefect(server.url + "/api")
    return {"said": machine.schedule(place)}


def show_schedule(done: dict[str, Any]) -> None:
    """Show what Prefect said."""
    terminal.OUT.print(done["said"], highlight=False)


def show_status(state: dict[str, Any]) -> None:
    """Show processes and champion."""
    rows = [
        [p["name"], str(p["pid"]), p["url"], p["serves"], str(p.get("answerers", "")), p["log"]]
        for p in state["processes"]
    ]
    terminal.table("Processes", ["name", "pid", "url", "serves", "answerers", "log"], rows)
    champion = state["champion"]
    terminal.OUT.print(
        f"champion: {champion['release']} ({champion['bento']}, epoch {champion['epoch']})"
        if champion
        else "no champion yet"
    )
    for line in _beside(state):
        terminal.OUT.print(line, highlight=False, soft_wrap=True)
    if state["console"]["url"]:
        terminal.OUT.print(
            f"console: {state['console']['url']}; without an account yet, `counterfoil console link` logs in",
            highlight=False,
        )


def _beside(state: dict[str, Any]) -> Iterator[str]:
    """Yield who challenges, where the door is, and what does not run or come up."""
    if one := state["challenger"]:
        share = f" of {one['share']:.2%} of the people" if one["stage"] == "canary" else ""
        yield f"challenger: {one['release']} ({one['bento']}, epoch {one['epoch']}), {one['stage']}{share}"
    if state["gateway"]["url"]:
        yield f"gateway: {state['gateway']['url']}"
        if not any(process["name"] == "supervisor" for process in state["processes"]):
            yield "the supervisor does not run: what answers goes on, and follows no release; `counterfoil up` starts it"
    for name, said in state["trouble"].items():
        yield f"{name} does not come up: {said}"


def show_down(stopped: dict[str, bool]) -> None:
    """Show what was stopped."""
    for name, was_running in stopped.items():
        terminal.OUT.print(f"{name}: {'stopped' if was_running else 'was not running'}")


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

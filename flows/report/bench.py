"""The page of a benchmark, filled from what `flows.benchmark` found: the same findings give the same page."""

from collections.abc import Mapping
from typing import Any

from flows.report.findings import Contender, Findings
from flows.report.page import page
from models.families import FAMILIES

SPREAD = 1.96  # standard errors to either side of a mean: 95%
COSTS = ("fit_seconds", "fit_cpu_seconds", "peak_bytes", "artefact_bytes", "score_ms", "batch_ms")


def html(report: Mapping[str, Any]) -> str:
    """Return the page of a benchmark."""
    return page(findings(report))


def findings(report: Mapping[str, Any]) -> Findings:
    """Return what a benchmark found, best first; leads are over the best."""
    best, primary = report["best"], report["primary"]
    behind = {lead["over"]: lead for lead in report["leads"]}
    contenders = [_contender(one, best, behind.get(one["family"]), primary) for one in report["families"]]
    ranked = sorted(contenders, key=lambda one: -one.value)
    told = [
        f"{best} leads {lead['over']} by {lead['lead']:+.4f} ({lead['low']:+.4f} to {lead['high']:+.4f}),"
        f" paired, p {lead['p']:.2g}."
        for lead in report["leads"]
    ]
    seeds = len(report["families"][0]["metrics"][primary]["seeds"])
    return Findings(
        title=f"{report['data']}, {report['protocol']}",
        opening="Full ranking over the whole catalogue, no sampled negatives"
        f"{f'; means of {seeds} seeds' if seeds > 1 else ''}. Nothing is decided here.",
        verdict=None,
        sentences=(
            *told,
            f"Best by {primary}: {best}, {ranked[0].value:.4f}.",
            *(one["reason"] for one in report["refused"]),
        ),
        primary=primary,
        reference=f"{best}, the best",
        contenders=tuple(ranked),
        facts={
            "data": str(report["data"]),
            "format": report["format"],
            "protocol": report["protocol"],
            "what people had may be asked for": "yes" if report["repeats"] else "no",
            "asked for": f"{report['units']:,} units",
            "learned from": f"{report['learned_from']:,} events",
            "people": f"{report['people']:,}",
            "items": f"{report['items']:,}",
        },
        record={},
    )


def _contender(
    one: Mapping[str, Any], best: str, behind: Mapping[str, Any] | None, primary: str
) -> Contender:
    value = one["metrics"][primary]["mean"]
    spread = SPREAD * (one["standard_error"] or 0.0)
    seeds = one["metrics"][primary]["seeds"]
    tuning = one["tuning"] or {}
    cost = {name: one[name] for name in COSTS if name in one}
    if tuning.get("trials"):
        cost["tuning_cpu_seconds"] = tuning["cpu_seconds"]
    return Contender(
        name=one["family"],
        tone="best" if one["family"] == best else "plain",
        value=value,
        low=value - spread,
        high=value + spread,
        lead=None if behind is None else (-behind["lead"], -behind["high"], -behind["low"]),
        noise=max(seeds) - min(seeds) if len(seeds) > 1 else None,
        metrics={name: found["mean"] for name, found in one["metrics"].items()},
        cost=cost,
        curve=one["curve"],
        config=one["config"],
        trials=tuning.get("trials", ()),
        note=FAMILIES[one["family"]].paper,
    )

"""Several origins: the same families at cuts one horizon apart, each with the window after it as truth, and the means of all.

One cut is one draw of a season; a recipe is ahead when it is ahead at each. Every origin is a benchmark of its own
(compare.py), whose data end where its window ends: nothing later is in its dataset.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from counterfoil import terminal
from counterfoil.errors import InputError
from flows.benchmark.compare import Benchmark, run
from flows.benchmark.compare import show as show_one


def roll(asked: Benchmark, origins: int, stages: terminal.Stages) -> dict[str, Any]:
    """Measure at the cut and at the `origins` - 1 cuts before it, a horizon apart, the latest first.

    InputError when the protocol does not cut by time, or when the history has no room for the earliest origin.
    """
    faults = []
    if asked.terms.protocol != "time":
        faults.append(f"origins are moments, and {asked.terms.protocol} has none; use --protocol time")
    if origins < 2:
        faults.append(f"{origins} origins were asked for; give 2 or more")
    if asked.lists is not None or asked.html is not None:
        faults.append("lists and pages are of one cut; ask for them without --origins")
    if faults:
        raise InputError("; ".join(faults))
    reports = [run(replace(asked, terms=replace(asked.terms, back=back)), stages) for back in range(origins)]
    return together(reports)


def together(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the origins' reports and, per family measured at all of them, the mean over origins beside the value at each.

    `leads` say by how much the family with the best mean leads each other one, at every origin.
    """
    primary = reports[0]["primary"]
    by_family = [{one["family"]: one["metrics"] for one in report["families"]} for report in reports]
    families = [
        _over_origins(family, [found[family] for found in by_family])
        for family in by_family[0]
        if all(family in found for found in by_family)
    ]
    if not families:
        raise InputError("no family could be measured at every origin; name other families, or fewer origins")
    best = max(families, key=lambda one: one["metrics"][primary]["mean"])
    others = [one for one in families if one is not best]
    return {
        "data": reports[0]["data"],
        "protocol": "time",
        "primary": primary,
        "k": reports[0]["k"],
        "best": best["family"],
        "families": families,
        "leads": [_lead(best, other, primary) for other in others],
        "origins": list(reports),
        "refused": [one for report in reports for one in report["refused"]],
    }


def _over_origins(family: str, metrics: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [name for name in metrics[0] if all(name in at for at in metrics)]
    values = {name: [at[name]["mean"] for at in metrics] for name in names}
    return {
        "family": family,
        "metrics": {
            name: {"mean": float(np.mean(found)), "origins": found} for name, found in values.items()
        },
    }


def _lead(best: Mapping[str, Any], other: Mapping[str, Any], primary: str) -> dict[str, Any]:
    pairs = zip(best["metrics"][primary]["origins"], other["metrics"][primary]["origins"], strict=True)
    leads = [own - theirs for own, theirs in pairs]
    return {
        "family": best["family"],
        "over": other["family"],
        "lead": float(np.mean(leads)),
        "origins": leads,
        "ahead": sum(lead > 0 for lead in leads),
    }


def show(report: dict[str, Any]) -> None:
    """Print each origin's table, then the means with the value at each origin."""
    for origin in report["origins"]:
        terminal.OUT.print(f"from {origin['holdout_from']}", highlight=False)
        show_one(origin)
    primary, count = report["primary"], len(report["origins"])
    ranked = sorted(report["families"], key=lambda one: -one["metrics"][primary]["mean"])
    starts = [origin["holdout_from"][:10] for origin in report["origins"]]
    rows = [
        [one["family"], one["metrics"][primary]["mean"], *one["metrics"][primary]["origins"]]
        for one in ranked
    ]
    terminal.table(f"{primary} over {count} origins", ["family", "mean", *starts], rows)
    for lead in report["leads"]:
        terminal.OUT.print(
            f"{lead['family']} leads {lead['over']} by {lead['lead']:+.4f} in the mean,"
            f" ahead at {lead['ahead']} of {count} origins",
            highlight=False,
        )

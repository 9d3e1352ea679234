"""What was measured, as lines for a person: plain functions from what a measure told to text."""

import statistics
from collections.abc import Mapping
from typing import Any

from bench.serving.floor import PARTS

BOUNDS = {
    "ratio": 1.5,
    "extra_ms": 1.0,
    "tail": 3.0,
    "throughput": 0.70,
    "receipt": 0.05,
    "receipt_bytes": 1024,
    "degraded": 0.01,
}


def of(name: str, told: Mapping[str, Any]) -> str:
    """Return the lines of a measure."""
    return TABLES[name](told)


def floor(told: Mapping[str, Any]) -> str:
    """Return the floor, part by part."""
    found = told["floor"]
    rows = [_row(part, found["parts"][part]) for part in (*PARTS, "sum")]
    recall = ", ".join(f"{way} {share:.3f}" for way, share in found["recall@200"].items())
    lines = [
        f"the floor: {found['items']:,} items, {found['signals']} signals, {found['trees']} trees;"
        f" retrieval {found['retrieval']} (recall {recall}), encoded by {found['encoded_by']}\n",
        *rows,
    ]
    lines.append(
        f"  CPU of the sum              {found['cpu_ms']:8.3f} ms, which a busy machine changes least\n"
    )
    lines += [_row(f"sum, {way}", other["sum"]) for way, other in found["other"].items()]
    return "".join(lines)


def answer(told: Mapping[str, Any]) -> str:
    """Return floor, services and verdicts."""
    lines = [floor(told), "one connection\n"]
    services = [name for name in told if name not in ("floor", "receipt", "load")]
    for name in services:
        found = told[name]
        lines.append(
            f"{_row(name, found['ms'])[:-1]}  {found['ratio']:.2f} of the floor, CPU {found['cpu_ms']:.2f} ms,"
            f" {found['cpu_ratio']:.2f} of the floor's"
            f"{_troubles(found)}\n"
        )
    lines.append("as many as can be had, and latency by load\n")
    for name in services:
        found = told[name]
        if "most" not in found:
            continue
        lines.append(
            f"  {name:<24} {found['most']['rate']:8,.0f} a second, {found['share_of_floor']:.0%} of what the floor allows,"
            f" {found['most']['cpu_ms']:.2f} ms CPU{_troubles(found['most'])}\n"
        )
        for share, loaded in found["loads"].items():
            lines.append(
                f"{_row(f'at {float(share):.0%}', loaded['ms'])[:-1]}  {loaded['rate']:,.0f} a second{_troubles(loaded)}\n"
            )
    return "".join(lines) + _receipt(told["receipt"]) + _verdicts(told)


def _verdicts(told: Mapping[str, Any]) -> str:
    bento = told["bento"]
    half = bento["loads"].get("0.5", {})
    rows = [
        ("answer, p50 of the floor's sum", bento["ratio"], BOUNDS["ratio"], "less"),
        (
            "p99 at half load, of p50 there",
            statistics.median(half["ratios"]) if half else None,
            BOUNDS["tail"],
            "less",
        ),
        (
            "p99 at half load, of p50 of one caller",
            statistics.median(half["p99s"]) / bento["ms"]["p50"] if half else None,
            BOUNDS["tail"],
            "less",
        ),
        ("throughput of what the floor allows", bento["share_of_floor"], BOUNDS["throughput"], "more"),
        ("receipt, share of p50", told["receipt"].get("share"), BOUNDS["receipt"], "less"),
        (
            "receipt, share of p50, disk before each answer",
            told["receipt"].get("strict_share"),
            BOUNDS["receipt"],
            "less",
        ),
        ("receipt, bytes", told["receipt"]["bytes"], BOUNDS["receipt_bytes"], "less"),
    ]
    if "gateway" in told:
        rows.append(("gateway, ms more at p50", told["gateway"]["extra_ms"], BOUNDS["extra_ms"], "less"))
    return "".join(verdict(*row) for row in rows)


def start(told: Mapping[str, Any]) -> str:
    """Return how long bentos took until they were ready."""
    lines = []
    for name, found in told.items():
        bound = 10.0 if found["items"] <= 100_000 else 30.0
        seconds = ", ".join(f"{one:.1f}" for one in found["seconds"])
        lines.append(verdict(f"ready, {name} (s: {seconds})", found["median"], bound, "less"))
        lines.append(f"       memory {found['memory_bytes'] / 1e6:,.0f} MB\n")
    return "".join(lines)


def events(told: Mapping[str, Any]) -> str:
    """Return how events came in."""
    lines = []
    for name, bound in (("batches", 20_000), ("singles", 2_000)):
        found = told[name]
        lines.append(f"{_row(f'{name}, acknowledged', found['ms'])[:-1]}{_troubles(found)}\n")
        lines.append(verdict(f"events a second, {name}", found["events_a_second"], bound, "more"))
    lines += _seen("alone", told["visible"])
    for name, found in told.items():
        if " at " not in name:
            continue
        load, own = found["load"], found["collector"]
        lines.append(
            f"{_row(f'{name}, acknowledged', load['ms'])[:-1]}  {own['events_a_second']:,.0f} a second came{_troubles(load)}\n"
        )
        lines += _seen(name, found["visible"])
        bounds = ", ".join(f"{share} {took:,.0f}" for share, took in own["lag_ms"].items())
        cores = ", ".join(f"{part} {share:.2f}" for part, share in found["cores"].items() if share >= 0.01)
        lines.append(f"    the collector's own lag, ms at most: {bounds or 'not told'}\n")
        lines.append(
            f"    collector's CPU {own['cpu_ms_per_1000'] or 0:.1f} ms per 1,000 events; cores: {cores}\n"
        )
    return "".join(lines)


def _seen(name: str, seen: Mapping[str, Any]) -> list[str]:
    """Return how soon answers knew, and whether all did within the second that is promised."""
    lines = []
    if seen["ms"]:
        ms = seen["ms"]
        lines.append(
            f"  {'until an answer knows':<24} p50 {ms['p50']:8.1f}  p95 {ms['p95']:8.1f}  max {ms['max']:8.1f} ms"
            f"  ({seen['asked']} asked, {seen['never']} never)\n"
        )
    missed = seen["missed"] if seen["ms"] or seen["missed"] else None  # nobody was asked: not measured
    lines.append(verdict(f"visible within a second, {name}, missed", missed, 0, "less"))
    return lines


def switch(told: Mapping[str, Any]) -> str:
    """Return what requests saw of releases."""
    found, shadow = told["switch"], told["shadow"]
    lines = [
        f"{found['asked']:,} requests at {told['rate']:,.0f} a second of {told['most']:,.0f} that can be had\n"
    ]
    for one in found["commands"]:
        said = "" if one["ok"] else f": {one['said']}"
        lines.append(f"  {one['command']} at {one['at']:.1f} s took {one['seconds']:.1f} s{said}\n")
    lines += [
        _row("while releases switch", found["ms"]),
        f"  longest gap between answers {found['gap_ms']:.0f} ms\n",
        verdict("commands done", sum(one["ok"] for one in found["commands"]), found["wanted"], "more"),
        verdict("failed requests at switches", found["failed"], 0, "less"),
        _degraded("degraded answers at switches, share", found),
        verdict("people who stay with one arm", found["sticky"], 1.0, "more"),
        _row("without a shadow", shadow["without_ms"]),
        _row("with a shadow of everything", shadow["with_ms"]),
        verdict("shadow, ms more at p95", shadow["extra_p95_ms"], 1.0, "less"),
    ]
    for fault, bad in told["bad"].items():
        seconds = (
            bad["seconds"] if bad["taken_back"] else float("inf")
        )  # 0: found by copies, before anybody saw it
        lines.append(verdict(f"bad challenger, {fault}: seconds", seconds, 10.0, "less"))
        lines.append(verdict(f"bad challenger, {fault}: people exposed", bad["exposed"], 0.01, "less"))
        lines.append(f"  {bad['exposed_meanwhile']:.2%} of those who asked while it answered\n")
    if (good := told.get("good")) is not None:
        went = [
            f"{one['stage']} at {one['share']:.0%} after {one['seconds']:.0f} s" for one in good["stages"]
        ]
        lines.append(_row("a good challenger is judged", good["ms"]))
        lines.append(f"  it went on: {', '.join(went) or 'nowhere'}\n")
        lines.append(verdict("good challenger, champion by itself", float(good["champion"]), 1.0, "more"))
        lines.append(verdict("good challenger, failed requests", good["failed"], 0, "less"))
        lines.append(_degraded("good challenger, degraded answers, share", good))
    return "".join(lines)


def soak(told: Mapping[str, Any]) -> str:
    """Return what minutes of load did."""
    lines = [
        f"{told['minutes']:g} minutes at {told['asked_rate']:,.0f} a second of {told['most']:,.0f} that can be had\n",
        f"{_row('answers', told['answers']['ms'])[:-1]}{_troubles(told['answers'])}\n",
        verdict("failed requests", told["answers"]["failed"], 0, "less"),
        _degraded("degraded answers, share", told["answers"]),
    ]
    for name, grown in told["growth"].items():
        lines.append(verdict(f"memory of {name}, growth", grown, 0.02, "less"))
    return "".join(lines)


def _degraded(name: str, found: Mapping[str, Any]) -> str:
    """Return a line on answers that were not whole: one from the last good list has not failed, and is no answer either."""
    return verdict(name, found["degraded"] / max(1, found["asked"]), BOUNDS["degraded"], "less")


def verdict(name: str, value: float | None, bound: float, better: str) -> str:
    """Return a line that says whether a bound holds, or, for a value of None, that nobody measured it."""
    if value is None:
        return f"       {name:<52} {'not measured':>10}  bound {bound:g}\n"
    held = value <= bound if better == "less" else value >= bound
    return f"{'held  ' if held else 'BROKEN'} {name:<52} {value:10.3f}  bound {bound:g}\n"


def _receipt(found: Mapping[str, Any]) -> str:
    stages = ", ".join(f"{name} {took:.2f}" for name, took in found["stages_ms"].items())
    share = f", {found['ms']:.2f} ms or {found['share']:.1%} of an answer" if "share" in found else ""
    if "strict_share" in found:
        share += f" (disk before each answer: {found['strict_ms']:.2f} ms or {found['strict_share']:.1%})"
    return f"receipts: {found['bytes'] or 0:,.0f} bytes{share}\nstages by receipts, median ms: {stages}\n"


def _row(name: str, ms: Mapping[str, float]) -> str:
    return f"  {name:<24} p50 {ms['p50']:8.3f}  p95 {ms['p95']:8.3f}  p99 {ms['p99']:8.3f} ms\n"


def _troubles(found: Mapping[str, Any]) -> str:
    told = [f"{found[name]} {name}" for name in ("failed", "empty", "degraded") if found.get(name)]
    return f"  ({', '.join(told)})" if told else ""


TABLES = {
    "floor": floor,
    "answer": answer,
    "start": start,
    "events": events,
    "switch": switch,
    "soak": soak,
}

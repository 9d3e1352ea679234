"""The gate's own report: one HTML page without external assets, made from verdicts alone, hence without raw values."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

from counterfoil.errors import InputError
from counterfoil.types import Check, Verdict
from flows.gate.verdict import title

PAGE = Path(__file__).parent / "page.html"
DETAILED = 40  # refused subjects that are told in full; the others are in the table and in the strip
WORDS = {"good": "passed", "warn": "passed with warnings", "bad": "refused", "fault": "gate broken"}


@dataclass(frozen=True, slots=True)
class Group:
    """One expectation over all verdicts: how many were held against it, and the checks that failed, with their subjects."""

    name: str
    check: Check
    held: int
    failed: tuple[tuple[str, Check], ...]

    @property
    def status(self) -> str:
        """Return good, warn, bad or fault."""
        if any(check.errored for _, check in self.failed):
            return "fault"
        return ("bad" if self.check.severity == "critical" else "warn") if self.failed else "good"

    @property
    def found(self) -> int:
        """Return the number of rows (or days) that break the expectation."""
        return sum(check.unexpected_count for _, check in self.failed)


def write_report(verdicts: Sequence[Verdict], folder: Path) -> Path:
    """Write `report.html` into the folder and return its path. Same verdicts, same bytes. InputError when there are none."""
    if not verdicts:
        raise InputError("there is no verdict to report; validate first")
    body = "\n".join(
        (_summary(verdicts), _strip(verdicts), _failures(verdicts), _details(verdicts), _all(verdicts))
    )
    page = Template(PAGE.read_text("utf-8")).substitute(title="The gate on data", body=body)
    return _write(folder / "report.html", page)


def status(verdict: Verdict) -> str:
    """Return good, warn, bad or fault."""
    if verdict.faulted:
        return "fault"
    if not verdict.passed:
        return "bad"
    return "good" if all(check.success for check in verdict.checks) else "warn"


def groups(verdicts: Iterable[Verdict]) -> list[Group]:
    """Return the verdicts' checks by expectation: first those that failed, the critical ones before the warnings."""
    found: dict[tuple[str, str], list[tuple[str, Check]]] = {}
    for verdict in verdicts:
        for check in verdict.checks:
            found.setdefault((title(check), verdict.suite), []).append((verdict.subject, check))
    out = [
        Group(name, pairs[0][1], len(pairs), tuple(p for p in pairs if not p[1].success or p[1].errored))
        for (name, _), pairs in found.items()
    ]
    order = ("fault", "bad", "warn", "good")
    return sorted(out, key=lambda group: (order.index(group.status), -group.found))


def _summary(verdicts: Sequence[Verdict]) -> str:
    rows = sum(verdict.rows for verdict in verdicts)
    counts = {word: sum(status(v) == name for v in verdicts) for name, word in WORDS.items()}
    told = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    suites = ", ".join(sorted({verdict.suite for verdict in verdicts}))
    first, last = verdicts[0].subject, verdicts[-1].subject
    span = escape(first) if first == last else f"{escape(first)} to {escape(last)}"
    return (
        f"<p><strong>{len(verdicts):,} validated: {told}.</strong></p>"
        f"<p class=soft>{span}; {rows:,} rows; suite <code>{escape(suites)}</code>. "
        "Great Expectations evaluated every expectation; a pass counts only with proof that it was evaluated.</p>"
    )


def _strip(verdicts: Sequence[Verdict]) -> str:
    if len(verdicts) == 1:
        return ""
    cells = "".join(
        f'<li class={status(v)} title="{escape(v.subject)}: {WORDS[status(v)]}, {v.rows:,} rows"></li>'
        for v in verdicts
    )
    seen = {status(v) for v in verdicts}
    key = "".join(f"<span class={name}>&#9632; {word}</span>" for name, word in WORDS.items() if name in seen)
    return f"<h2>In order</h2><ul class=strip>{cells}</ul><p class=key>{key}</p>"


def _badge(group: Group) -> str:
    word = {"fault": "broken", "bad": "critical", "warn": "warning", "good": "passed"}[group.status]
    return f"<span class='badge {group.status}'>{word}</span>"


def _failures(verdicts: Sequence[Verdict]) -> str:
    failed = [group for group in groups(verdicts) if group.failed]
    if not failed:
        return "<h2>Findings</h2><p class=good>None: every expectation was met.</p>"
    return f"<h2>Findings</h2>{_table(('', 'expectation', 'in', 'findings', 'for example'), map(_failure, failed))}"


def _failure(group: Group) -> tuple[str, ...]:
    subject, check = max(group.failed, key=lambda pair: pair[1].unexpected_count)
    # A check about a day as a whole has the day as its sample, which the subject says already.
    where = [sample for sample in check.samples if sample not in subject]
    samples = ", ".join(f"<code>{escape(sample)}</code>" for sample in where)
    example = f"{escape(subject)}: {escape(check.observed or '')}<br>{samples}"
    what = f"<strong>{escape(group.name)}</strong><br><span class=soft>{escape(check.expected or '')}</span>"
    return _badge(group), what, f"{len(group.failed):,} of {group.held:,}", f"{group.found:,}", example


def _details(verdicts: Sequence[Verdict]) -> str:
    refused = [verdict for verdict in verdicts if not verdict.passed]
    if not refused:
        return ""
    more = f"<p class=soft>and {len(refused) - DETAILED:,} more</p>" if len(refused) > DETAILED else ""
    return f"<h2>Refused</h2>{''.join(map(_detail, refused[:DETAILED]))}{more}"


def _detail(verdict: Verdict) -> str:
    failed = groups([verdict])
    rows = map(_failure, (group for group in failed if group.failed))
    head = f"<span class='badge {status(verdict)}'>{WORDS[status(verdict)]}</span> <strong>{escape(verdict.subject)}</strong>"
    digest = f"<p class=soft>{verdict.rows:,} rows, SHA-256 <code>{escape(verdict.sha256)}</code></p>"
    table = _table(("", "expectation", "in", "findings", "what was seen"), rows)
    return f"<details><summary>{head}</summary>{digest}{table}</details>"


def _all(verdicts: Sequence[Verdict]) -> str:
    found = groups(verdicts)
    rows = (
        (_badge(group), f"{escape(group.name)}<br><span class=soft>{escape(group.check.expected or '')}</span>",
         escape(group.check.severity), f"{group.held - len(group.failed):,} of {group.held:,}")
        for group in found
    )  # fmt: skip
    table = _table(("", "expectation", "severity", "passed"), rows)
    return (
        f"<h2>Every expectation</h2><details><summary>{len(found):,} expectations</summary>{table}</details>"
    )


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th scope=col>{name}</th>" for name in names)
    body = "".join(f"<tr>{''.join(map(_cell, names, row))}</tr>" for row in rows)
    return f"<div class=scroll><table class=cards><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(name: str, text: str) -> str:
    number = " class=n" if name in ("in", "findings", "passed") else ""
    label = f' data-name="{name}"' if name and name != "expectation" else ""
    return f"<td{number}{label}>{text}</td>"


def _write(path: Path, text: str) -> Path:
    """Write a file whole or not at all: beside, synced, renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    return path

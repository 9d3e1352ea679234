"""What a page tells, as values: contenders and what was measured of them, the decision, the data. Filled by turn.py, bench.py."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flows.report.svg import Tone


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One contender: its value with an interval, its lead over the reference and the bar that this must clear, and the rest.

    `lead` is (mean, low, high), None where there is no pairing. `curve` are the steps of learning that the artefact tells.
    """

    name: str
    tone: Tone
    value: float
    low: float
    high: float
    lead: tuple[float, float, float] | None = None
    bar: float | None = None
    noise: float | None = None
    breaches: tuple[str, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    curve: Sequence[Mapping[str, float]] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    trials: Sequence[Mapping[str, Any]] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """One page: a title, the verdict in a word and in sentences, contenders best first, and facts about the data and the record.

    `reference` is whom leads are over; `opening` stands under the title.
    """

    title: str
    opening: str
    verdict: str | None
    sentences: tuple[str, ...]
    primary: str
    reference: str
    contenders: tuple[Contender, ...]
    facts: Mapping[str, str]
    record: Mapping[str, str]

    @property
    def length(self) -> str:
        """The length of the lists, as metrics name it: `@10`."""
        return "@" + self.primary.partition("@")[2]

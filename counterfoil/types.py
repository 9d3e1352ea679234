"""The nouns that pass between rooms: frozen, keyword-only, slotted. No behaviour but their identity.

A noun's id is its kind and a digest of the fields that make it what it is; fields that merely describe how
it came about (seconds, bytes, the wall clock) carry `metadata=ASIDE` and stay out of the id, so that doing the same thing
twice names the same thing.
"""

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Literal, Protocol

from counterfoil import canonical

ASIDE: dict[str, bool] = {"aside": True}
NOBODY = "nobody"  # whom a receipt names that was asked for nobody in particular

EventKind = Literal[
    "view", "search", "impression", "click", "favourite", "cart", "purchase", "rating", "message", "treatment"
]
Severity = Literal["critical", "warning"]
Verb = Literal["promote", "hold", "reject"]
Stage = Literal["shadow", "canary", "champion", "retired"]


class Noun:
    """What every noun of the catalog can do: name itself."""

    __slots__ = ()
    kind: ClassVar[str]

    @property
    def id(self) -> str:
        """Return `kind-` and 16 hex digits of the SHA-256 of the identity fields."""
        fields = dataclasses.fields(self)  # type: ignore[arg-type]
        identity = {f.name: getattr(self, f.name) for f in fields if not f.metadata.get("aside")}
        return f"{self.kind}-{canonical.sha256(identity)[:16]}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Who did what to which item, when, in which session, on which channel, answering which receipt."""

    id: str
    time: datetime
    person: str
    kind: EventKind
    session: str | None = None
    item: str | None = None
    query: str | None = None
    position: int | None = None
    dwell_ms: int | None = None
    quantity: float | None = None
    price: float | None = None
    channel: str | None = None
    receipt: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """What one expectation found. `errored` says that the expectation itself broke; then `success` means nothing.

    `samples` names where it failed (event ids, days, columns), never raw personal values.
    """

    expectation: str
    column: str | None
    severity: Severity
    success: bool
    errored: bool = False
    observed: str | None = None
    expected: str | None = None
    unexpected_count: int = 0
    samples: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict(Noun):
    """What validation found in a subject (one day's partition, or a whole snapshot), expectation by expectation."""

    kind: ClassVar[str] = "verdict"
    subject: str
    sha256: str
    rows: int
    passed: bool
    checks: tuple[Check, ...]
    suite: str
    faulted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureSpec:
    """A Feast feature service, the keys it is read by, and how labels come about.

    `label_kinds` are the event kinds that count as success, within `horizon_days` after the cut-off;
    training frames are taken at `cutoffs` moments, `horizon_days` apart, before the holdout. Models see at most the
    latest `history_cap` interactions of `history_kinds` per person, offline and online alike. `label_weights` says what a kind
    of label is worth to rankers, 1 where it does not say: {"purchase": 1.0, "cart": 0.3, "click": 0.1}; all count as hits.
    """

    service: str
    keys: tuple[str, ...]
    label_kinds: tuple[EventKind, ...]
    horizon_days: int
    cutoffs: int = 2
    history_cap: int = 1000
    history_kinds: tuple[EventKind, ...] = ("purchase",)
    label_weights: dict[EventKind, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """What a challenger must clear: the primary metric, the margin to beat, and guardrails.

    `guardrails` maps a metric to the share of the champion's value that must be kept (0.9 = may lose 10%).
    `floors` maps a metric to an absolute value; `ceilings` to an absolute upper bound (bytes, milliseconds). A bound may be
    about a slice ("ndcg@10[new people]"); below `min_slice_units` units a slice has too little evidence to block anybody.
    `approvals` people, each another one, must approve what the gate promotes before it serves.
    """

    primary: str
    margin: float
    guardrails: dict[str, float] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    ceilings: dict[str, float] = field(default_factory=dict)
    min_units: int = 100
    min_slice_units: int = 30
    noise_seeds: tuple[int, ...] = (1, 2)
    approvals: int = 0


class FamilyConfig(Protocol):
    """The typed config of a family; a frozen dataclass that lives beside the family."""

    family: ClassVar[str]


class DataPolicy(Protocol):
    """How strict the gate on data is; a frozen dataclass that lives beside the gate (flows/gate/policy.py)."""

    @property
    def rows_floor(self) -> int:
        """Rows that a day must have."""

    @property
    def snapshot_rows_floor(self) -> int:
        """Rows that a snapshot must have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """How what the gate promotes comes to everybody: in shadow, then to growing shares of the people, then to all of them.

    A stage lasts at least `stage_seconds`, and until the challenger has answered `stage_requests`; one that has not after
    `patience_seconds` is taken back. `mirror` of the requests that others answer are copied to it: that finds a fault before many
    people have seen it. It is taken back when its rate of errors or of empty answers is surely above that of the champion by more
    than `max_errors` or `max_empty`, its latency, at `quantile` or in the middle, surely more than `max_latency` times the
    champion's, or its clicks fewer; `alpha` is the chance of a false alarm that each of these tests allows, however often it is
    asked. A new champion is held against the one before it for `watch_seconds`.
    """

    stage_seconds: float = 600.0
    stage_requests: int = 200
    shares: tuple[float, ...] = (0.01, 0.1, 0.5)
    mirror: float = 1.0
    max_errors: float = 0.005
    max_empty: float = 0.01
    max_latency: float = 1.5
    quantile: float = 0.9
    alpha: float = 0.01
    patience_seconds: float = 86_400.0
    watch_seconds: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class UseCase:
    """What a shop wants answered: name, task, features, contenders, gate. A value; a second use case is another one.

    `data_policy` says how strict the gate on data is with this shop's days; None: as strict as with a shop that trades daily.
    `rollout` says how a winner comes to everybody; None: at once.
    """

    name: str
    task: Literal["rank"]
    features: FeatureSpec
    contenders: tuple[FamilyConfig, ...]
    gate: Gate
    baseline: str
    seed: int = 0
    data_policy: DataPolicy | None = None
    rollout: Rollout | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset(Noun):
    """A version of the data: DVC's address, the SHA-256 manifest's digest, what it covers, the verdicts behind it.

    `tables` are the SHA-256 of the landed items and people that it was written from; none where an earlier version wrote it.
    """

    kind: ClassVar[str] = "dataset"
    use_case: str
    address: str
    sha256: str
    as_of: datetime
    holdout_from: datetime
    rows: int
    people: int
    items: int
    first_time: datetime
    last_time: datetime
    feature_service: str
    verdicts: tuple[str, ...]
    code_version: str = field(metadata=ASIDE)
    seconds: float = field(default=0.0, metadata=ASIDE)
    tables: dict[str, str] = field(default_factory=dict, metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt(Noun):
    """One trial of a tuning: a config tried on what the dataset allows to choose by, never on its holdout.

    `study` says which search proposed it, as its trial `number`; `value` is the metric when it is complete, `first` that on
    the first rung, below whose `bar` it was given up; `reason` says why, or why it failed.
    """

    kind: ClassVar[str] = "attempt"
    use_case: str
    dataset: str
    family: str
    study: str
    number: int
    config: dict[str, Any]
    seed: int
    metric: str
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    first: float | None
    bar: float | None
    reason: str = ""
    code_version: str = field(metadata=ASIDE)
    seconds: float = field(default=0.0, metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate(Noun):
    """One fitted model: recipe (family, config, seed), the dataset it learned from, and its artefact."""

    kind: ClassVar[str] = "candidate"
    use_case: str
    family: str
    config: dict[str, Any]
    seed: int
    dataset: str
    address: str
    sha256: str
    code_version: str = field(metadata=ASIDE)
    fit_seconds: float = field(default=0.0, metadata=ASIDE)
    peak_bytes: int = field(default=0, metadata=ASIDE)
    artefact_bytes: int = field(default=0, metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation(Noun):
    """How a candidate did on a dataset's holdout. Scores per unit lie in the store at `address` (see models/evaluate.py)."""

    kind: ClassVar[str] = "evaluation"
    use_case: str
    candidate: str
    family: str
    seed: int
    dataset: str
    address: str
    sha256: str
    units: int
    metrics: dict[str, float]
    slices: dict[str, dict[str, float]]
    code_version: str = field(metadata=ASIDE)
    cost: dict[str, float] = field(default_factory=dict, metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """One contender against the reference, paired by unit: mean difference, 95% interval, noise of refits, reasons."""

    evaluation: str
    family: str
    value: float
    low: float
    high: float
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    noise: float | None
    breaches: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision(Noun):
    """Promote, hold or reject; the evidence in numbers and in sentences; who approved.

    `stage` and `share` say how the winner is to be released, where that was asked for; else the use case's rollout says it.
    """

    kind: ClassVar[str] = "decision"
    use_case: str
    dataset: str
    verb: Verb
    winner: str | None
    champion: str | None
    evaluations: tuple[str, ...]
    comparisons: tuple[Comparison, ...]
    sentences: tuple[str, ...]
    gate: str
    code_version: str = field(metadata=ASIDE)
    approved_by: str = "gate"
    stage: Stage | None = field(default=None, metadata=ASIDE)
    share: float | None = field(default=None, metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bento(Noun):
    """An immutable service: code, model, item snapshot, under a BentoML tag and the digest of its manifest."""

    kind: ClassVar[str] = "bento"
    use_case: str
    candidate: str
    dataset: str
    tag: str
    sha256: str
    feature_service: str
    code_version: str = field(metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class OnlineRows(Noun):
    """What the online store was brought to: people's rows as of a moment, the digest of the partition they came from."""

    kind: ClassVar[str] = "online"
    use_case: str
    dataset: str
    as_of: datetime
    feature_service: str
    sha256: str
    rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Release(Noun):
    """What serves: a bento, decided by a decision, at a stage and share, from one epoch on.

    `retired` says that a challenger was taken back: it never serves, and ends what was active of it.
    """

    kind: ClassVar[str] = "release"
    use_case: str
    decision: str
    bento: str
    tag: str
    epoch: int
    stage: Stage = "champion"
    share: float = 1.0
    valid_from: datetime = field(metadata=ASIDE)
    valid_to: datetime | None = field(default=None, metadata=ASIDE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval(Noun):
    """Somebody's word on a decision, beside the gate's."""

    kind: ClassVar[str] = "approval"
    use_case: str
    decision: str
    by: str
    at: datetime
    note: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting(Noun):
    """The settings under which the installation records from a moment on; addresses and keys by keyed digests."""

    kind: ClassVar[str] = "setting"
    values: dict[str, str]
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantine(Noun):
    """Nouns that may not be promoted, nor anything that is made from them: what `subject` (a bad file, a day) reached.

    One that `lifts` another, by its id, ends it.
    """

    kind: ClassVar[str] = "quarantine"
    subject: str
    nouns: tuple[str, ...]
    reason: str
    by: str
    at: datetime
    lifts: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure(Noun):
    """A person who was forgotten, named by a commitment alone: what went where, which nouns learned from them, what remains.

    `person` is SHA-256 over a nonce and the pseudonym; only the certificate that was handed out opens it. `stored` names files
    of stored versions (`ADDRESS/FILE`) that are no longer in the store and must not be, `bentos` tags likewise; `segments` has
    the digest of each sealed segment from which receipts were taken out; `removed` counts what went by place; `learned` are the
    nouns that learned from the person; `remains` says what stays and why; `sha256` is that of the signed certificate.
    """

    kind: ClassVar[str] = "erasure"
    person: str
    at: datetime
    by: str
    removed: dict[str, int]
    stored: tuple[str, ...]
    learned: tuple[str, ...]
    remains: tuple[str, ...]
    sha256: str
    segments: dict[str, str] = field(default_factory=dict)
    bentos: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiptItem:
    """One item of an answer: where it came from, its score, why it is there."""

    item: str
    score: float
    sources: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """One answer: request, arm and propensity, features as served with their times, items, rules, release.

    `arm` is the stage of the release that answered: champion, canary, or shadow (then nobody saw it); `propensity` the chance
    with which this person came to it. `explored` names items that stand where they do by chance, with that chance.
    `nonce` is random, so that the hash of a receipt tells nothing of it once it was erased; older receipts have none.
    """

    id: str
    time: datetime
    use_case: str
    release: str
    bento: str
    epoch: int
    person: str
    request: dict[str, Any]
    items: tuple[ReceiptItem, ...]
    rules: tuple[str, ...]
    features: dict[str, Any]
    feature_time: datetime | None
    degraded: tuple[str, ...]
    arm: str = "champion"
    propensity: float = 1.0
    stages_ms: dict[str, float] = field(default_factory=dict)
    nonce: str = ""
    explored: dict[str, float] = field(default_factory=dict)

    @property
    def unseen(self) -> bool:
        """Whether nobody saw the answer, since a shadow gave it."""
        return self.arm == "shadow"

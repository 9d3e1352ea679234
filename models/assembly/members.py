"""Members of an assembly: which families these are, and how they are fitted, asked on a trial, and fitted again.

An assembly never learns weights from what its members have learned from: there is always a trial that they were kept from.
Where the training set brings one, a member fitted beside it is the one that answers later; where the trial was cut from what
may be learned, the members are fitted once more on all of it, with the settings that they chose the first time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from counterfoil.errors import ConfigError, InputError
from models import splits
from models.data import Query, Ranking, TrainingSet, Trial
from models.family import Family, Model

MOST = 8  # members that have a bit in `Ranking.source_PK`
SESSIONS = ("rules", "sessionknn", "itemknn", "gru4rec")
REPEATS = ("twostage", "repurchase", "itemknn", "rules", "popularity")
NEXT_FIRSTS = ("rules", "ease", "itemknn", "sessionknn", "als", "popularity", "sasrec")
LATER_FIRSTS = ("twostage", "sessionknn", "ease", "als", "itemknn", "popularity")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What may be learned with the trial as its validation; `whole` is all that there is, None when nothing was cut off."""

    blind: TrainingSet
    trial: Trial
    whole: TrainingSet | None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A family with its settings settled, and what it answered on the trial; no model where it has to be fitted again.

    `crowd` is what it answered to another question, where one was asked.
    """

    name: str
    config: Any
    model: Model | None
    ranking: Ranking
    crowd: Ranking | None = None


def usual(training: TrainingSet) -> tuple[str, ...]:
    """Return the members that suit a training set.

    What comes next in a session; what people come back for; what they take for the first time, next or within a time.
    """
    if training.inner == "sessions":
        return SESSIONS
    if training.repeats:
        return REPEATS
    return NEXT_FIRSTS if training.inner == "last" else LATER_FIRSTS


def length(training: TrainingSet) -> int:
    """Return the k of the nDCG@k to choose by: 20 for sessions, as they are measured where they are published, else 10."""
    return 20 if training.inner == "sessions" else 10


def flat(training: TrainingSet) -> float:
    """Return how far the discount of the nDCG to choose by is flattened: for sessions half, since hits are published too."""
    return 0.5 if training.inner == "sessions" else 0.0


def check(names: Sequence[str], own: str) -> None:
    """Refuse members that cannot be: ConfigError; UnknownError where no family has that name."""
    if not 1 <= len(names) <= MOST or len(set(names)) != len(names):
        raise ConfigError(f"members {', '.join(names)} must be 1 to {MOST} different families")
    if own in names:
        raise ConfigError(f"{own} cannot be a member of itself; name other families")
    for name in names:
        family(name)


def family(name: str) -> Family:
    """Return a registered family."""
    from models.families import FAMILIES  # the registry imports assemblies when asked

    return FAMILIES[name]


def cut(training: TrainingSet, asked: int) -> Cut:
    """Return the training set's own trial, or one that is cut from it; of its people at most `asked`, evenly spread.

    InputError when there is too little to cut.
    """
    blind, trial = splits.choosing(training)
    trial = trial.at_most(asked)
    if blind is training:
        return Cut(blind=training, trial=trial, whole=None)
    return Cut(blind=replace(blind, validation=trial), trial=trial, whole=training)


def ask(
    names: Sequence[str], cut: Cut, depth: int, seed: int, also: Query | None = None
) -> tuple[list[Member], dict[str, str]]:
    """Fit the members one after another and ask each on the trial, and `also`; return them, and why which were left out.

    A family that refuses these data (too many items, no cut-offs) is left out; ConfigError when all do.
    """
    found, refused = [], {}
    for name in names:
        kind = family(name)
        try:
            model = kind.fit(kind.config(), cut.blind, seed)
            ranking = model.recommend(cut.trial.query, min(depth, cut.trial.query.items))
            crowd = None if also is None else model.recommend(also, min(depth, also.items))
        except (ConfigError, InputError) as refusal:
            refused[name] = str(refusal)
            continue
        settled = settled_of(model, kind)
        found.append(
            Member(
                name=name,
                config=settled,
                model=model if cut.whole is None else None,
                ranking=ranking,
                crowd=crowd,
            )
        )
    if not found:
        told = "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        raise ConfigError(f"no member can be fitted on these data ({told}); name other families")
    return found, refused


def settled_of(model: Model, kind: Family) -> Any:
    """Return the config that a model was fitted with after what it left open was chosen; the defaults where it does not say."""
    config = getattr(model, "config", None)
    return config if isinstance(config, kind.config) else kind.config()


def final(member: Member, cut: Cut, seed: int) -> Model:
    """Return the member fitted on all that may be learned."""
    if member.model is not None:
        return member.model
    return family(member.name).fit(member.config, cut.blind if cut.whole is None else cut.whole, seed)

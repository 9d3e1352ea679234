"""What families of sequences share: the settings of how they learn, what of these the data decide, and `fit` and `load`.

A family is a config and an encoder of a few lines; how is learned is in models/nn/learner.py, which brings torch, and what is
answered in models/sequence.py, which does not.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from models import sequence
from models.config import Checked, Options, Span, bounds
from models.data import Interactions, TrainingSet
from models.family import Family, Model
from models.sequence import Encoder, SequenceModel, Single

COVERED = 0.99  # share of people whose whole history a window holds
LONGEST = 200
SHARED_TIMES = 0.5  # share of events in baskets from which on they have no order among themselves
BASKETS_AHEAD = 4
TARGETS = 5_500_000  # learned from in all, in so many epochs as that takes
TARGETS_OF_BASKETS = 1_500_000  # where there is no order there is less to learn, and a step costs more
MOST_EPOCHS = 60.0
STEPS_PER_EPOCH = 16  # at least, where data are few
NEGATIVES = 512
# Sessions are short and nothing is known of who comes, so that what sells drowns the rest unless length and bias say nothing
# of it (Gupta et al., "NISER: normalized item and session representations", 2019), and near misses must be seen to be told apart.
NEGATIVES_OF_SESSIONS = 2048
SCALE_OF_SESSIONS = 16.0
SMALLEST_STEP, LARGEST_STEP = 64, 1024


@dataclass(frozen=True, kw_only=True)
class SequenceConfig(Checked):
    """How a model of sequences learns. What is None follows the data (`settled`), and is saved as what it became.

    `length` positions are read of a history. A step takes about `positions` of them, and the batch shares `negatives`, drawn
    with a chance of their count to the power of `sampling`. With a `scale` scores are cosines times it, and what is popular has
    no bias of its own; 0: inner products and a bias. `rate` is the network's, `row_rate` that of embeddings, which start
    with a standard deviation of `spread`. A target is drawn from the next `ahead` baskets. With `repeats` own items are scored
    by a term of their own (models/nn/repeat.py). Work is bounded by `epochs`, never by the clock.
    """

    family: ClassVar[str] = "sequences"
    length: int | None = bounds(None, 1, 2000)
    width: int = bounds(64, 2, 1024, search=Options(32, 64, 128))
    dropout: float | None = bounds(None, 0.0, 0.9, search=Span(0.0, 0.6))
    negatives: int | None = bounds(None, 1, 65_536, search=Span(128, 4096, log=True))
    positions: int | None = bounds(None, 1, 1_000_000)
    epochs: float | None = bounds(None, 0.01, 10_000, search=Span(2, 200, log=True))
    rate: float = bounds(2e-3, 1e-6, 1.0, search=Span(3e-4, 1e-2, log=True))
    row_rate: float = bounds(2e-3, 1e-6, 1.0, search=Span(3e-4, 3e-2, log=True))
    spread: float = bounds(0.1, 1e-6, 10.0)
    warmup: float = bounds(0.05, 0.0, 1.0)
    ahead: int | None = bounds(None, 1, 1000)
    sampling: float = bounds(0.5, 0.0, 1.0, search=Span(0.0, 1.0))
    repeats: bool | None = None
    scale: float | None = bounds(None, 0.0, 1000.0)

    @property
    def given_length(self) -> int:
        """Return the length of a settled config."""
        assert self.length is not None
        return self.length

    def settled(self, training: TrainingSet) -> Any:
        """Return the config with what was left open decided by the data."""
        known = training.interactions
        targets = max(1, len(known) - int(np.count_nonzero(np.diff(known.indptr))))
        sessions = training.inner == "sessions"
        baskets = _share_in_baskets(known) >= SHARED_TIMES
        work = TARGETS_OF_BASKETS if baskets else TARGETS
        epochs = self.epochs or float(np.clip(work / targets, 1.0, MOST_EPOCHS))
        return replace(
            self,
            length=self.length or _length(known),
            ahead=self.ahead or (BASKETS_AHEAD if baskets else 1),
            epochs=epochs,
            dropout=_dropout(epochs) if self.dropout is None else self.dropout,
            positions=self.positions or int(np.clip(targets // STEPS_PER_EPOCH, SMALLEST_STEP, LARGEST_STEP)),
            repeats=training.repeats if self.repeats is None else self.repeats,
            negatives=self.negatives or (NEGATIVES_OF_SESSIONS if sessions else NEGATIVES),
            scale=(SCALE_OF_SESSIONS if sessions else 0.0) if self.scale is None else self.scale,
        )


def family(
    config: type[SequenceConfig],
    encoder: Encoder,
    paper: str,
    single: Single | None = None,
) -> Family:
    """Return the registry line of a family: its config, and an encoder made from a settled one.

    `single` makes what reads one history without torch, where the family has that.
    """

    def fit(config: SequenceConfig, training: TrainingSet, seed: int) -> Model:
        """Learn from every person's sequence."""
        from models.nn import learner

        settled = config.settled(training)
        weights, curve = learner.fit(settled, encoder, training, seed)
        return SequenceModel(settled, weights, curve, encoder, single)

    def load(folder: Path) -> Model:
        """Read what `save` wrote; IntegrityError when it is not that."""
        return sequence.load(folder, config, encoder, single)

    return Family(config=config, fit=fit, load=load, paper=paper, seeded=True)


def _length(known: Interactions) -> int:
    """Return how many positions hold all that nearly everybody took, at most LONGEST."""
    count_P = np.diff(known.indptr)
    count_P = count_P[count_P > 0]
    most = int(np.quantile(count_P, COVERED, method="higher")) if len(count_P) else 1
    return min(max(most, 2), LONGEST)


def _dropout(epochs: float) -> float:
    """Return how much to drop: the more, the oftener the same is learned from."""
    return float(np.clip(0.1 * np.log2(epochs), 0.1, 0.5))


def _share_in_baskets(known: Interactions) -> float:
    """Return the share of events that share their time with another of the same person."""
    if len(known) < 2:
        return 0.0
    alike_N = (np.diff(known.person_N) == 0) & (np.diff(known.time_N) == 0)
    return float((np.append(alike_N, False) | np.insert(alike_N, 0, False)).mean())

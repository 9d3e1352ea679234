"""Item2vec: items as words, people's sequences (or baskets) as sentences; what is taken in the same company lies close.

The skip-gram with negative samples is gensim's. Items that came after the fit have kept no company, and rank last.
Shapes: J items at the fit, D width, N interactions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal
from zlib import crc32

import numpy as np

from models.config import bounds
from models.data import Interactions, TrainingSet
from models.families.content import ByVectors, VectorConfig, fit_by, load_by
from models.family import Family
from models.vectors import unit


@dataclass(frozen=True, kw_only=True)
class Item2VecConfig(VectorConfig):
    """What a sentence is, and how the vectors are learned from it.

    `window` items before and after count as company. `flatten` is the exponent on frequency by which negatives are drawn:
    Caselles-Dupre et al. (RecSys 2018) find values below word2vec's .75 better for items.
    """

    family: ClassVar[str] = "item2vec"
    sentence: Literal["person", "basket"] = "person"
    width: int = bounds(64, 1, 2048)
    window: int = bounds(10, 1, 10_000)
    negatives: int = bounds(10, 1, 1000)
    flatten: float = bounds(0.5, -1.0, 1.0)
    sample: float = bounds(1e-4, 0.0, 1.0)
    epochs: int = bounds(20, 1, 10_000)
    rate: float = bounds(0.025, 1e-6, 1.0)


class Sentences:
    """Interactions as sentences; can be read again and again, as gensim does."""

    def __init__(self, interactions: Interactions, sentence: Literal["person", "basket"]) -> None:
        starts_N = np.diff(interactions.person_N, prepend=-1) != 0
        if sentence == "basket":
            starts_N |= np.diff(interactions.time_N, prepend=-1) != 0
        self.words = [str(item) for item in interactions.item_N.tolist()]
        self.bounds = np.append(np.flatnonzero(starts_N), len(self.words)).tolist()

    def __iter__(self) -> Iterator[list[str]]:
        for start, stop in zip(self.bounds, self.bounds[1:], strict=False):
            if stop - start > 1:
                yield self.words[start:stop]


def fit(config: Item2VecConfig, training: TrainingSet, seed: int) -> ByVectors:
    """Learn vectors from the order in which people took things; one worker, so that the same seed gives the same bytes."""

    def learn(known: TrainingSet) -> np.ndarray:
        return learned(config, known.interactions.last(known.history_cap), seed)

    return fit_by(config, training, learn, from_content=False)


def learned(config: Item2VecConfig, interactions: Interactions, seed: int) -> np.ndarray:
    """Return vectors of length one, float32 [J, D]; zeros for items that nobody took beside another."""
    from gensim.models import Word2Vec

    out_JD = np.zeros((interactions.items, config.width), np.float32)
    sentences = Sentences(interactions, config.sentence)
    if not any(True for _ in sentences):
        return out_JD
    model = Word2Vec(
        sentences,
        vector_size=config.width,
        window=config.window,
        negative=config.negatives,
        ns_exponent=config.flatten,
        sample=config.sample,
        epochs=config.epochs,
        alpha=config.rate,
        min_count=1,
        sg=1,
        workers=1,
        seed=seed + 1,  # gensim takes 0 for no seed at all in places
        hashfxn=lambda word: crc32(word.encode()),  # Python's own differs from process to process
    )
    out_JD[np.array(model.wv.index_to_key, np.int64)] = model.wv.vectors
    return unit(out_JD)


def load(folder: Path) -> ByVectors:
    """Read what `save` wrote; IntegrityError when it is not that."""
    return ByVectors(*load_by(folder, Item2VecConfig, sparse=False))


FAMILY = Family(
    config=Item2VecConfig,
    fit=fit,
    load=load,
    paper="Barkan, Koenigstein: Item2vec, neural item embedding for collaborative filtering, MLSP 2016",
    seeded=True,
)

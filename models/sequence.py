"""A fitted model of sequences: a history becomes a state, and a state scores the whole catalogue.

score(i) = state . embedding(i) + bias(i), and for the history's own items what repeats add (models/nn/repeat.py), where repeats
count at all. With a scale both are of one length (the embedding's 1, the state's the scale), and the bias is for empty histories
only. One person is answered without torch (models/transformer.py, models/recurrence.py), several at a time by the network
(models/nn/states.py), which is made when it is first wanted.
Shapes: P people, I items, D width, R rows with a history, L positions, N interactions, C distinct items, K list length.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from counterfoil.errors import IntegrityError
from models import artefact, coarse
from models.blas import one_thread
from models.config import build
from models.data import Interactions, Query, Ranking
from models.families import dense
from models.family import top_k

if TYPE_CHECKING:
    from torch import nn

    from models.families.sequential import SequenceConfig
    from models.nn.states import Network

Weights = Mapping[str, np.ndarray]  # float32, by the names that torch gives them
Encoder = Callable[[Any], "nn.Module"]  # makes the network that reads many sequences, out of a settled config
Last = Callable[[np.ndarray], np.ndarray]  # returns the last state, [D], of one sequence of vectors, [L, D]
Extra = tuple[np.ndarray, np.ndarray]  # distinct items, and what is added to the score of each
Single = Callable[
    [Any, Weights], Last
]  # makes what reads one sequence by arrays, out of the encoder's weights

FILE = "weights.safetensors"
ENCODER = "encoder."
EMBEDDING, BIAS = "embedding", "bias"
DECAY, GAIN, OFFSET = "repeat.log_decay", "repeat.gain.weight", "repeat.gain.bias"
ENCODED_AT_ONCE = 128
SHORTEST = 1e-12  # no state is divided by less, as in torch


class SequenceModel:
    """Weights of a network, embeddings [I, D] tied between input and output, a bias [I], and how learning went (`curve`)."""

    def __init__(
        self,
        config: "SequenceConfig",
        weights: Weights,
        curve: list[dict[str, float]],
        encoder: Encoder,
        single: Single,
    ) -> None:
        self.config = config
        self.curve = curve
        self.embedding_ID, self.bias_I = weights[EMBEDDING], weights[BIAS]
        self._weights = weights
        self._encoder = encoder
        self._last = single(config, _of_encoder(weights))

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` likeliest next items; InputError for a question that does not fit.

        Who has no history gets the learned prior; items that came after the fit rank last.
        """
        dense.check(query, k, len(self.bias_I))
        if query.people != 1:
            return self.exactly(query, k)
        with one_thread():
            return self._one(query, k)

    def exactly(self, query: Query, k: int) -> Ranking:
        """Return what `recommend` does, by the network and by every product."""
        return dense.rank(query, k, self.config.family, self._score)

    def encode(self, history: Interactions) -> np.ndarray:
        """Return what is known of each person, float32 [P, D], zeros without a history."""
        state_PD = np.zeros((history.people, self.config.width), np.float32)
        for row_R, _, state_RD, _ in self._encoded(history):
            state_PD[row_R] = state_RD
        return state_PD

    def save(self, folder: Path) -> None:
        """Write `config.json`, `curve.json` and `weights.safetensors`."""
        artefact.write_json(folder / "config.json", self.config)
        (folder / "curve.json").write_bytes(orjson.dumps(self.curve, option=orjson.OPT_SORT_KEYS))
        save_file({name: np.ascontiguousarray(value) for name, value in self._weights.items()}, folder / FILE)

    @cached_property
    def network(self) -> "Network":
        """The network by torch, for many people at a time."""
        from models.nn import states

        learned = {name: value for name, value in self._weights.items() if name not in (EMBEDDING, BIAS)}
        return states.restored(self.config, self._encoder, learned)

    @cached_property
    def _coarse(self) -> coarse.Coarse:
        return coarse.Coarse(
            self.embedding_ID, np.zeros_like(self.bias_I) if self.config.scale else self.bias_I
        )

    def _one(self, query: Query, k: int) -> Ranking:
        """Return the answer to one person, where it can be without computing every product."""
        item_L = self._latest(query)
        if not len(item_L):
            return top_k(self._prior(query), query, k, self.config.family)
        query.lap("candidates")
        state_D, extra = self._read(item_L)
        query.lap("vectors")
        found = self._sooner(query, k, state_D, extra) if coarse.ready(query.items) else None
        return found or top_k(self._scored(query, state_D, extra), query, k, self.config.family)

    def _latest(self, query: Query) -> np.ndarray:
        """Return what is read of one person's history: the latest items that were learned of."""
        item_N = query.history.item_N
        return item_N[item_N < len(self.bias_I)][-self.config.given_length :]

    def _read(self, item_L: np.ndarray) -> tuple[np.ndarray, Extra | None]:
        """Return the last state of a history, float32 [D], and what repeats add to its items; None where they do not count."""
        state_D = self._last(self.embedding_ID[item_L])
        if self.config.scale:
            length = max(float(np.linalg.norm(state_D)), SHORTEST)
            state_D = state_D * np.float32(self.config.scale / length)
        if not self.config.repeats:
            return state_D, None
        own_C, at_L = np.unique(item_L, return_inverse=True)
        decay_L = np.exp(self._weights[DECAY][: len(item_L)][::-1])
        mass_C = np.bincount(at_L, decay_L, len(own_C)).astype(np.float32)
        gain = self._weights[GAIN][0] @ state_D + self._weights[OFFSET][0]
        return state_D, (own_C, gain * np.log1p(mass_C))

    def _sooner(self, query: Query, k: int, state_D: np.ndarray, extra: Extra | None) -> Ranking | None:
        """Return the answer without computing every product; None where all are needed."""
        learned = len(self.bias_I)
        excluded = None if query.exclude is None else query.exclude[0]
        found = self._coarse.best(
            state_D,
            k,
            allowed_I=None if query.allowed_I is None else query.allowed_I[:learned],
            excluded=None if excluded is None else excluded[excluded < learned],
            extra=extra,
        )
        if found is None:
            return None
        return Ranking(
            item_PK=found[0][None].astype(np.int32),
            score_PK=found[1][None],
            sources=(self.config.family,),
            source_PK=np.ones((1, len(found[0])), np.uint8),
        )

    def _scored(self, query: Query, state_D: np.ndarray, extra: Extra | None) -> np.ndarray:
        """Return one person's scores of all items, float32 [1, I]."""
        score_PI = self._prior(query)
        score_PI[:, : len(self.bias_I)] = self._products(state_D[None])
        if extra is not None:
            score_PI[0, extra[0]] += extra[1]
        return score_PI

    def _score(self, query: Query) -> np.ndarray:
        """Return the scores of all items by the network, float32 [P, I]."""
        score_PI = self._prior(query)
        for row_R, part, state_RD, repeat_N in self._encoded(query.history):
            score_PI[row_R, : len(self.bias_I)] = self._products(state_RD)
            np.add.at(score_PI, (row_R[part.person_N], part.item_N), repeat_N)
        return score_PI

    def _prior(self, query: Query) -> np.ndarray:
        """Return the scores for who has no history, float32 [P, I]: what came after the fit is last."""
        score_PI = np.empty((query.people, query.items), np.float32)
        score_PI[:, : len(self.bias_I)] = self.bias_I
        score_PI[:, len(self.bias_I) :] = self.bias_I.min(initial=-(self.config.scale or 0.0)) - 1.0
        return score_PI

    def _products(self, state_RD: np.ndarray) -> np.ndarray:
        """Return the scores without repeats, float32 [R, I]."""
        score_RI = state_RD @ self.embedding_ID.T
        return score_RI if self.config.scale else score_RI + self.bias_I

    def _encoded(
        self, history: Interactions
    ) -> Iterator[tuple[np.ndarray, Interactions, np.ndarray, np.ndarray]]:
        """Yield rows, their latest known items, states [R, D] and what repeats add per interaction, alike lengths together."""
        from models.nn import states

        known = history.where(history.item_N < len(self.bias_I)).last(self.config.given_length)
        count_P = np.diff(known.indptr)
        order = np.argsort(count_P, kind="stable")
        some = order[np.searchsorted(count_P[order], 1) :]
        for start in range(0, len(some), ENCODED_AT_ONCE):
            row_R = some[start : start + ENCODED_AT_ONCE]
            part = known.rows(row_R)
            yield row_R, part, *states.encode(self.network, self.embedding_ID, part)


def _of_encoder(weights: Weights) -> Weights:
    """Return the encoder's own weights, by their names in it."""
    return {name.removeprefix(ENCODER): value for name, value in weights.items() if name.startswith(ENCODER)}


def load(folder: Path, kind: "type[SequenceConfig]", encoder: Encoder, single: Single) -> SequenceModel:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: SequenceConfig = build(kind, artefact.read_json(folder / "config.json"), kind.family)
    curve = _curve(folder / "curve.json")
    try:
        weights = load_file(folder / FILE)
        _check(config, weights)
        return SequenceModel(config, weights, curve, encoder, single)
    except (OSError, SafetensorError, ValueError) as error:
        raise IntegrityError(
            f"{FILE} cannot be read ({error}); restore the artefact by its digest"
        ) from error


def _check(config: "SequenceConfig", weights: Weights) -> None:
    """ValueError when what lies beside the encoder is not what the config says."""
    items: tuple[int, ...] = weights[EMBEDDING].shape[:1] if EMBEDDING in weights else ()
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (*items, config.width), BIAS: items}
    if config.repeats:
        shapes |= {DECAY: (config.given_length,), GAIN: (1, config.width), OFFSET: (1,)}
    artefact.check_shapes({name: of for name, of in weights.items() if not name.startswith(ENCODER)}, shapes)


def _curve(path: Path) -> list[dict[str, float]]:
    """Read how learning went; IntegrityError when that cannot be told from the file."""
    try:
        told: list[dict[str, float]] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read ({error}); restore the artefact by its digest"
        ) from error
    return told

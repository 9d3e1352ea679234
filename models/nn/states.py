"""A fitted model of sequences: an encoder turns a history into a state, and a state scores the whole catalogue.

score(i) = state . embedding(i) + bias(i), and for the history's own items what repeats add (models/nn/repeat.py), where repeats
count at all. With a scale both are of one length (the embedding's 1, the state's the scale), and the bias is for empty histories
only. Any encoder will do: a module [B, L, D] -> [B, L, D] whose positions do not see what comes after them.
Shapes: P people, I items, D width, R rows with a history, L positions, N interactions.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from counterfoil.errors import IntegrityError
from models import artefact, coarse
from models.config import build
from models.data import Interactions, Query, Ranking
from models.families import dense
from models.families.sequential import SequenceConfig
from models.nn.dropout import ByteDropout
from models.nn.repeat import Repeat, same
from models.nn.threads import one_thread

ENCODED_AT_ONCE = 128


class Network(nn.Module):
    """All that is learned but the rows per item: the encoder, and the term for repeats where these count."""

    def __init__(self, config: SequenceConfig, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.scale = config.scale
        self.repeat = Repeat(length=config.given_length, width=config.width) if config.repeats else None

    def forward(self, x_BLD: Tensor, dropout: ByteDropout | None = None) -> Tensor:
        """Return what each position knows of the sequence up to itself, [B, L, D]; with a scale, all of that length."""
        state_BLD: Tensor = self.encoder(x_BLD, dropout)
        return F.normalize(state_BLD, dim=-1) * self.scale if self.scale else state_BLD

    def last(self, x_LD: Tensor) -> Tensor:
        """Return what is known at the last position of one sequence, [D]; encoders that can leave out the others do."""
        if not hasattr(self.encoder, "last"):
            return self.forward(x_LD[None])[0, -1]
        state_D: Tensor = self.encoder.last(x_LD)  # type: ignore[operator]
        return F.normalize(state_D, dim=-1) * self.scale if self.scale else state_D


def network(config: SequenceConfig, encoder: Callable[[Any], nn.Module]) -> Network:
    """Make a network; torch draws first weights from its global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return Network(config, encoder(config))


class SequenceModel:
    """A network, embeddings [I, D] tied between input and output, a bias [I], and how learning went (`curve`)."""

    def __init__(
        self,
        config: SequenceConfig,
        network: Network,
        embedding_ID: Tensor,
        bias_I: Tensor,
        curve: list[dict[str, float]],
    ) -> None:
        self.config = config
        self.network = network.eval()
        self.embedding_ID = embedding_ID
        self.bias_I = bias_I
        self.curve = curve
        self._bias_I = bias_I.numpy()

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` likeliest next items; InputError for a question that does not fit.

        Who has no history gets the learned prior; items that came after the fit rank last.
        """
        dense.check(query, k, len(self._bias_I))
        with one_thread():
            found = self._sooner(query, k) if query.people == 1 and coarse.ready(query.items) else None
        return found or self.exactly(query, k)

    def exactly(self, query: Query, k: int) -> Ranking:
        """Return what `recommend` does, by every product."""
        with one_thread():
            return dense.rank(query, k, self.config.family, self._score)

    @cached_property
    def _coarse(self) -> coarse.Coarse:
        bias_I = np.zeros_like(self._bias_I) if self.config.scale else self._bias_I
        return coarse.Coarse(self.embedding_ID.numpy(), bias_I)

    def _sooner(self, query: Query, k: int) -> Ranking | None:
        """Return the answer to one person with a history without computing every product; None where all are needed."""
        item_N = query.history.item_N
        item_L = item_N[item_N < len(self._bias_I)][-self.config.given_length :]
        if not len(item_L):
            return None
        state_D, own_C, added_C = self._last(item_L)
        learned = len(self._bias_I)
        excluded = None if query.exclude is None else query.exclude[0]
        found = self._coarse.best(
            state_D,
            k,
            allowed_I=None if query.allowed_I is None else query.allowed_I[:learned],
            excluded=None if excluded is None else excluded[excluded < learned],
            extra=None if added_C is None else (own_C, added_C),
        )
        if found is None:
            return None
        return Ranking(
            item_PK=found[0][None].astype(np.int32),
            score_PK=found[1][None],
            sources=(self.config.family,),
            source_PK=np.ones((1, len(found[0])), np.uint8),
        )

    @torch.inference_mode()
    def _last(self, item_L: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Return the last state [D], the distinct items, and what repeats add to these; None where repeats do not count."""
        state_D = self.network.last(self.embedding_ID[torch.from_numpy(item_L.astype(np.int64))])
        own_C, at_L = np.unique(item_L, return_inverse=True)
        if self.network.repeat is None:
            return state_D.numpy(), own_C, None
        decay_L = self.network.repeat.log_decay[: len(item_L)].flip(0).exp()
        mass_C = torch.zeros(len(own_C)).index_add_(0, torch.from_numpy(at_L), decay_L)
        return state_D.numpy(), own_C, self.network.repeat(state_D, mass_C).numpy()

    def encode(self, history: Interactions) -> np.ndarray:
        """Return what is known of each person, float32 [P, D], zeros without a history."""
        state_PD = np.zeros((history.people, self.config.width), np.float32)
        with one_thread():
            for row_R, _, state_RD, _ in self._encoded(history):
                state_PD[row_R] = state_RD
        return state_PD

    def save(self, folder: Path) -> None:
        """Write `config.json`, `curve.json` and `weights.safetensors`."""
        artefact.write_json(folder / "config.json", self.config)
        (folder / "curve.json").write_bytes(orjson.dumps(self.curve, option=orjson.OPT_SORT_KEYS))
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(
            {**weights, "embedding": self.embedding_ID, "bias": self.bias_I}, folder / "weights.safetensors"
        )

    def _score(self, query: Query) -> np.ndarray:
        learned = len(self._bias_I)
        score_PI = np.empty((query.people, query.items), np.float32)
        score_PI[:, :learned] = self._bias_I
        score_PI[:, learned:] = self._bias_I.min(initial=-(self.config.scale or 0.0)) - 1.0
        for row_R, part, state_RD, repeat_N in self._encoded(query.history):
            score_RI = state_RD @ self.embedding_ID.numpy().T
            score_PI[row_R, :learned] = score_RI if self.config.scale else score_RI + self._bias_I
            np.add.at(score_PI, (row_R[part.person_N], part.item_N), repeat_N)
        return score_PI

    def _encoded(
        self, history: Interactions
    ) -> Iterator[tuple[np.ndarray, Interactions, np.ndarray, np.ndarray]]:
        """Yield rows, their latest known items, states [R, D] and what repeats add per interaction, alike lengths together."""
        known = history.where(history.item_N < len(self._bias_I)).last(self.config.given_length)
        count_P = np.diff(known.indptr)
        order = np.argsort(count_P, kind="stable")
        some = order[np.searchsorted(count_P[order], 1) :]
        for start in range(0, len(some), ENCODED_AT_ONCE):
            row_R = some[start : start + ENCODED_AT_ONCE]
            part = known.rows(row_R)
            yield row_R, part, *self._encode(part)

    @torch.inference_mode()
    def _encode(self, known: Interactions) -> tuple[np.ndarray, np.ndarray]:
        """Return the last states of people with a history, float32 [R, D], and per interaction what repeats add to its item.

        An item that was taken several times has its sum at the first.
        """
        count_R = np.diff(known.indptr)
        inside_RL = np.arange(count_R.max()) < count_R[:, None]
        item_RL = np.full(inside_RL.shape, -1, np.int64)
        item_RL[inside_RL] = known.item_N
        item = torch.from_numpy(item_RL)
        state_RLD = self.network(self.embedding_ID[item.clamp(min=0)])
        last_R = torch.from_numpy(count_R - 1)
        state_RD = state_RLD[torch.arange(len(count_R)), last_R]
        if self.network.repeat is None:
            return state_RD.numpy(), np.zeros(len(known), np.float32)
        same_RLL, first_RL = same(item)
        mass_RL = (self.network.repeat.lags(item.shape[1])[last_R][:, None, :] @ same_RLL)[:, 0]
        repeat_RL = self.network.repeat(state_RD, mass_RL) * first_RL
        return state_RD.numpy(), repeat_RL.numpy()[inside_RL]


def load(folder: Path, kind: type[SequenceConfig], encoder: Callable[[Any], nn.Module]) -> SequenceModel:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: SequenceConfig = build(kind, artefact.read_json(folder / "config.json"), kind.family)
    curve = _curve(folder / "curve.json")
    made = network(config, encoder)
    try:
        weights = load_file(folder / "weights.safetensors")
        embedding_ID, bias_I = weights.pop("embedding"), weights.pop("bias")
        made.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise IntegrityError(
            f"weights.safetensors cannot be read ({error}); restore the artefact by its digest"
        ) from error
    return SequenceModel(config, made, embedding_ID, bias_I, curve)


def _curve(path: Path) -> list[dict[str, float]]:
    """Read how learning went; IntegrityError when that cannot be told from the file."""
    try:
        told: list[dict[str, float]] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise IntegrityError(
            f"{path.name} cannot be read ({error}); restore the artefact by its digest"
        ) from error
    return told

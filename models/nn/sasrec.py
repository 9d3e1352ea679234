"""SASRec: a causal transformer that reads a person's latest items and scores the whole catalogue.

Learned by sampled softmax over the items of the sequence itself and negatives that the batch shares, corrected by how
likely each was drawn, so that scores are calibrated (Petrov & Macdonald, "gSASRec", RecSys 2023). A bias per item starts at its
log share and is the prior for empty histories; models/nn/repeat.py says how repeats are carried.
Shapes: P people, I items, D width, B sequences, L positions, T targets, U rows that a step touches, S negatives.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from counterfoil.errors import ConfigError, IntegrityError
from models import artefact
from models.config import build
from models.data import Interactions, Query, Ranking, TrainingSet
from models.families import dense
from models.families.sasrec import SasRecConfig
from models.nn.encoder import ByteDropout, Encoder, initialise
from models.nn.repeat import Repeat, same
from models.nn.rows import RowAdam
from models.nn.sequences import Batch, Sequences
from models.nn.threads import one_thread

ENCODED_AT_ONCE = 128


class Network(torch.nn.Module):
    """All that is learned but the rows per item."""

    def __init__(self, config: SasRecConfig) -> None:
        if config.width % config.heads:
            raise ConfigError(
                f"{config.heads} heads do not divide a width of {config.width}; choose a divisor"
            )
        super().__init__()
        self.encoder = Encoder(
            length=config.length, width=config.width, blocks=config.blocks, heads=config.heads
        )
        self.repeat = Repeat(length=config.length, width=config.width)


class SasRec:
    """A network over the latest items, embeddings [I, D] tied between input and output, and a bias [I]."""

    def __init__(self, config: SasRecConfig, network: Network, embedding_ID: Tensor, bias_I: Tensor) -> None:
        self.config = config
        self.network = network.eval()
        self.embedding_ID = embedding_ID
        self.bias_I = bias_I
        self._bias_I = bias_I.numpy()

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` likeliest next items; InputError for a question that does not fit.

        Who has no history gets the learned prior; items that came after the fit rank last.
        """
        dense.check(query, k, len(self._bias_I))
        with one_thread():
            return dense.rank(query, k, SasRecConfig.family, self._score)

    def save(self, folder: Path) -> None:
        """Write `config.json` and `weights.safetensors`."""
        artefact.write_json(folder / "config.json", self.config)
        weights = {name: value.contiguous() for name, value in self.network.state_dict().items()}
        save_file(
            {**weights, "embedding": self.embedding_ID, "bias": self.bias_I}, folder / "weights.safetensors"
        )

    def _score(self, query: Query) -> np.ndarray:
        learned = len(self._bias_I)
        score_PI = np.empty((query.people, query.items), np.float32)
        score_PI[:, :learned] = self._bias_I
        score_PI[:, learned:] = self._bias_I.min(initial=0.0) - 1.0
        known = query.history.where(query.history.item_N < learned).last(self.config.length)
        some = np.flatnonzero(np.diff(known.indptr))
        for start in range(0, len(some), ENCODED_AT_ONCE):
            row_R = some[start : start + ENCODED_AT_ONCE]
            part = known.rows(row_R)
            state_RD, repeat_N = self._encode(part)
            score_PI[row_R, :learned] += torch.mm(state_RD, self.embedding_ID.T).numpy()
            np.add.at(score_PI, (row_R[part.person_N], part.item_N), repeat_N)
        return score_PI

    @torch.inference_mode()
    def _encode(self, known: Interactions) -> tuple[Tensor, np.ndarray]:
        """Return the last states of people with a history, float32 [R, D], and per interaction what repeats add to its item.

        An item that was taken several times has its sum at the first.
        """
        count_R = np.diff(known.indptr)
        inside_RL = np.arange(count_R.max()) < count_R[:, None]
        item_RL = np.full(inside_RL.shape, -1, np.int64)
        item_RL[inside_RL] = known.item_N
        item = torch.from_numpy(item_RL)
        state_RLD = self.network.encoder(self.embedding_ID[item.clamp(min=0)])
        last_R = torch.from_numpy(count_R - 1)
        state_RD = state_RLD[torch.arange(len(count_R)), last_R]
        same_RLL, first_RL = same(item)
        mass_RL = (self.network.repeat.lags(item.shape[1])[last_R][:, None, :] @ same_RLL)[:, 0]
        repeat_RL = self.network.repeat(state_RD, mass_RL) * first_RL
        return state_RD, repeat_RL.numpy()[inside_RL]


def fit(config: SasRecConfig, training: TrainingSet, seed: int) -> SasRec:
    """Learn from every person's sequence; ConfigError when heads do not divide the width."""
    with one_thread():
        return _Learner(config, training, seed).learn()


class _Learner:
    """What changes while learning: weights, moments, generators."""

    def __init__(self, config: SasRecConfig, training: TrainingSet, seed: int) -> None:
        self.config = config
        self.random = np.random.default_rng(seed)
        self.sequences = Sequences(training.interactions, length=config.length, ahead=config.ahead)
        self.network = _network(config)
        initialise(self.network, seed)
        self.network.repeat.initialise()
        count_I = np.bincount(training.interactions.item_N, minlength=training.interactions.items).astype(
            float
        )
        self.embedding_ID = _embeddings(len(count_I), config.width, seed)
        self.bias_I = torch.from_numpy(np.log((count_I + 0.01) / (count_I + 0.01).sum()).astype(np.float32))
        chance_I = count_I**config.sampling * (count_I > 0)
        self.chance_I = chance_I / max(chance_I.sum(), 1.0)
        self.cumulated_I = np.cumsum(self.chance_I)
        self.rows = RowAdam((self.embedding_ID, self.bias_I), (config.row_rate, config.row_rate))
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        self.dropout = ByteDropout(config.dropout, seed)

    def learn(self) -> SasRec:
        """Take the steps, with a rate that warms up and then falls to zero along a cosine."""
        windows = len(self.sequences.epoch(np.random.default_rng(0)))
        steps = min(self.config.steps, max(1, self.config.epochs * windows // self.config.batch))
        for step, batch in enumerate(self.sequences.batches(self.config.batch, steps, self.random)):
            if len(batch.at_T):
                self._step(batch, _schedule(step, steps, self.config.warmup))
        return SasRec(self.config, self.network, self.embedding_ID, self.bias_I)

    def _step(self, batch: Batch, rate: float) -> None:
        negative_S = np.searchsorted(
            self.cumulated_I, self.random.random(self.config.negatives) * self.cumulated_I[-1]
        )
        everything = np.concatenate([batch.item_BL.ravel(), batch.target_T, negative_S])
        row_U, local = np.unique(everything, return_inverse=True)
        item_BL, target_T, drawn_S = np.split(
            torch.from_numpy(local).numpy(), [batch.item_BL.size, batch.item_BL.size + len(batch.target_T)]
        )
        row = torch.from_numpy(row_U)
        embedding_UD, bias_U = leaves = self.rows.take(row)
        item = torch.from_numpy(item_BL).view(batch.item_BL.shape)
        state_BLD = self.network.encoder(torch.nn.functional.embedding(item, embedding_UD), self.dropout)
        expected_U = torch.from_numpy(np.log(np.maximum(self.chance_I[row_U] * self.config.negatives, 1e-12)))
        loss = sampled_softmax(
            self.network.repeat,
            state_BLD,
            embedding_UD,
            bias_U,
            expected_U.float(),
            item_BL=item,
            at_T=torch.from_numpy(batch.at_T),
            target_T=torch.from_numpy(target_T),
            drawn_S=torch.from_numpy(drawn_S),
        )
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate * rate
        self.optimiser.step()
        self.rows.step(row, leaves, rate)


def sampled_softmax(
    repeat: Repeat,
    state_BLD: Tensor,
    embedding_UD: Tensor,
    bias_U: Tensor,
    expected_U: Tensor,
    *,
    item_BL: Tensor,
    at_T: Tensor,
    target_T: Tensor,
    drawn_S: Tensor,
) -> Tensor:
    """Return the mean loss of the targets against the sequence's own items so far, and the shared draw.

    `expected_U` is the log of how often a row is expected in the draw; logits are less that (Bengio & Senecal 2008), but
    own items are certain to be there, which is a log of zero. Items are numbered by the touched rows U.
    """
    length = item_BL.shape[1]
    row_T, position_T = at_T // length, at_T % length
    state_TD = state_BLD.flatten(0, 1)[at_T]
    lag_TL = repeat.lags(length)[position_T]
    same_BLL, first_BL = same(item_BL)
    # own items: the first position of each stands for the item, and only what lies at or before the position counts
    own_BLL = state_BLD @ torch.nn.functional.embedding(item_BL, embedding_UD).transpose(1, 2)
    mass_BLL = repeat.lags(length) @ same_BLL
    own_TL = (
        own_BLL.flatten(0, 1)[at_T] + bias_U[item_BL][row_T] + repeat(state_TD, mass_BLL.flatten(0, 1)[at_T])
    )
    hits_TL = item_BL[row_T] == target_T[:, None]
    earlier_TL = torch.arange(length) <= position_T[:, None]
    own_TL = own_TL.masked_fill(~(earlier_TL & first_BL[row_T]) | hits_TL, -torch.inf)
    known_T = (hits_TL & earlier_TL).any(dim=1)
    hit_T = (state_TD * torch.nn.functional.embedding(target_T, embedding_UD)).sum(1)
    hit_T = hit_T + bias_U[target_T] - torch.where(known_T, 0.0, expected_U[target_T])
    hit_T = hit_T + repeat(state_TD, (lag_TL * hits_TL).sum(1, keepdim=True))[:, 0]
    drawn_TS = torch.addmm((bias_U - expected_U)[drawn_S], state_TD, embedding_UD[drawn_S].T)
    drawn_TS = drawn_TS.masked_fill(target_T[:, None] == drawn_S, -torch.inf)
    others_T = torch.logaddexp(own_TL.logsumexp(1), drawn_TS.logsumexp(1))
    return (torch.logaddexp(others_T, hit_T) - hit_T).mean()


def _schedule(step: int, steps: int, warmup: float) -> float:
    warm = max(1.0, warmup * steps)
    return min((step + 1) / warm, 1.0) * 0.5 * (1 + np.cos(np.pi * step / steps))


def _embeddings(items: int, width: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed + 1)
    return torch.empty(items, width).normal_(0.0, width**-0.5 / 2, generator=random)


def _network(config: SasRecConfig) -> Network:
    """Make a network; torch draws first weights from its global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return Network(config)


def load(folder: Path) -> SasRec:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: SasRecConfig = build(SasRecConfig, artefact.read_json(folder / "config.json"), "sasrec")
    network = _network(config)
    try:
        weights = load_file(folder / "weights.safetensors")
        embedding_ID, bias_I = weights.pop("embedding"), weights.pop("bias")
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise IntegrityError(
            f"weights.safetensors cannot be read ({error}); restore the artefact by its digest"
        ) from error
    return SasRec(config, network, embedding_ID, bias_I)

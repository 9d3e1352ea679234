"""SASRec: a causal transformer that reads a person's latest items and scores the whole catalogue.

Learned by sampled softmax over negatives that the batch shares, corrected by how likely each was drawn, so that scores are
calibrated (Petrov & Macdonald, "gSASRec", RecSys 2023); a bias per item starts at its log share and is the prior for empty histories.
Shapes: P people, I items, D width, B sequences, L positions, T targets, U rows that a step touches, S negatives.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from counterfoil.errors import ConfigError, IntegrityError
from models import artefact
from models.config import Checked, bounds, build
from models.data import Query, Ranking, TrainingSet
from models.families import dense
from models.family import Family
from models.nn.encoder import ByteDropout, Encoder, initialise
from models.nn.rows import RowAdam
from models.nn.sequences import Batch, Sequences


@dataclass(frozen=True, kw_only=True)
class SasRecConfig(Checked):
    """The network's size, and how long and by what it learns. Work is bounded by `steps`, never by the clock.

    `epochs` may end learning before `steps` on small data. A target is drawn from the next `ahead` baskets.
    """

    family: ClassVar[str] = "sasrec"
    length: int = bounds(50, 1, 2000)
    width: int = bounds(64, 2, 1024)
    blocks: int = bounds(1, 1, 12)
    heads: int = bounds(1, 1, 16)
    dropout: float = bounds(0.1, 0.0, 0.9)
    negatives: int = bounds(512, 1, 65_536)
    batch: int = bounds(64, 1, 4096)
    steps: int = bounds(1200, 1, 10_000_000)
    epochs: int = bounds(100, 1, 10_000)
    rate: float = bounds(2e-3, 1e-6, 1.0)
    row_rate: float = bounds(4e-3, 1e-6, 1.0)
    warmup: float = bounds(0.05, 0.0, 1.0)
    ahead: int = bounds(4, 1, 1000)
    sampling: float = bounds(0.5, 0.0, 1.0)


class SasRec:
    """An encoder over the latest items, embeddings [I, D] tied between input and output, and a bias [I]."""

    def __init__(self, config: SasRecConfig, encoder: Encoder, embedding_ID: Tensor, bias_I: Tensor) -> None:
        self.config = config
        self.encoder = encoder.eval()
        self.embedding_ID = embedding_ID
        self.bias_I = bias_I
        self._item_DI = embedding_ID.numpy().T
        self._bias_I = bias_I.numpy()

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` likeliest next items; InputError for a question that does not fit.

        Who has no history gets the learned prior; items that came after the fit rank last.
        """
        dense.check(query, k, len(self._bias_I))
        return dense.rank(query, k, SasRecConfig.family, self._score)

    def save(self, folder: Path) -> None:
        """Write `config.json` and `weights.safetensors`."""
        artefact.write_json(folder / "config.json", self.config)
        weights = {f"encoder.{name}": value.contiguous() for name, value in self.encoder.state_dict().items()}
        save_file(
            {**weights, "embedding": self.embedding_ID, "bias": self.bias_I}, folder / "weights.safetensors"
        )

    def _score(self, query: Query) -> np.ndarray:
        learned = len(self._bias_I)
        score_PI = np.empty((query.people, query.items), np.float32)
        score_PI[:, :learned] = self._bias_I
        score_PI[:, learned:] = self._bias_I.min(initial=0.0) - 1.0
        state_RD, row_R = self._encode(query)
        score_PI[row_R, :learned] += state_RD @ self._item_DI
        return score_PI

    @torch.inference_mode()
    def _encode(self, query: Query) -> tuple[np.ndarray, np.ndarray]:
        """Return the last state of everybody with a history that was learned from, float32 [R, D], and their rows."""
        known = query.history.where(query.history.item_N < len(self._bias_I)).last(self.config.length)
        count_P = np.diff(known.indptr)
        row_R = np.flatnonzero(count_P)
        if not len(row_R):
            return np.zeros((0, self.config.width), np.float32), row_R
        inside_PL = np.arange(count_P.max()) < count_P[:, None]
        item_PL = np.zeros(inside_PL.shape, np.int64)
        item_PL[inside_PL] = known.item_N
        state_RLD = self.encoder(self.embedding_ID[torch.from_numpy(item_PL[row_R])])
        return state_RLD[torch.arange(len(row_R)), torch.from_numpy(count_P[row_R] - 1)].numpy(), row_R


def fit(config: SasRecConfig, training: TrainingSet, seed: int) -> SasRec:
    """Learn from every person's sequence; ConfigError when heads do not divide the width.

    One thread, whatever the training set allows: steps are small, two threads that wait for each other on a busy
    machine cost eight times the processor seconds (measured), and the bytes do not depend on the machine's cores.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _Learner(config, training, seed).learn()
    finally:
        torch.set_num_threads(before)


class _Learner:
    """What changes while learning: weights, moments, generators."""

    def __init__(self, config: SasRecConfig, training: TrainingSet, seed: int) -> None:
        self.config = config
        self.random = np.random.default_rng(seed)
        self.sequences = Sequences(training.interactions, length=config.length, ahead=config.ahead)
        self.encoder = _encoder(config)
        initialise(self.encoder, seed)
        count_I = np.bincount(training.interactions.item_N, minlength=training.interactions.items).astype(float)
        self.embedding_ID = _embeddings(len(count_I), config.width, seed)
        self.bias_I = torch.from_numpy(np.log((count_I + 0.01) / (count_I + 0.01).sum()).astype(np.float32))
        chance_I = count_I**config.sampling * (count_I > 0)
        self.chance_I = chance_I / max(chance_I.sum(), 1.0)
        self.cumulated_I = np.cumsum(self.chance_I)
        self.rows = RowAdam((self.embedding_ID, self.bias_I), (config.row_rate, config.row_rate))
        self.optimiser = torch.optim.AdamW(
            self.encoder.parameters(), lr=config.rate, betas=(0.9, 0.98), weight_decay=0.0
        )
        self.dropout = ByteDropout(config.dropout, seed)

    def learn(self) -> SasRec:
        """Take the steps, with a rate that warms up and then falls to zero along a cosine."""
        windows = len(self.sequences.epoch(np.random.default_rng(0)))
        steps = min(self.config.steps, max(1, self.config.epochs * windows // self.config.batch))
        for step, batch in enumerate(self.sequences.batches(self.config.batch, steps, self.random)):
            if len(batch.at_T):
                self._step(batch, _schedule(step, steps, self.config.warmup))
        return SasRec(self.config, self.encoder, self.embedding_ID, self.bias_I)

    def _step(self, batch: Batch, rate: float) -> None:
        negative_S = np.searchsorted(self.cumulated_I, self.random.random(self.config.negatives) * self.cumulated_I[-1])
        everything = np.concatenate([batch.item_BL.ravel(), batch.target_T, negative_S])
        row_U, local = np.unique(everything, return_inverse=True)
        item_BL, target_T, drawn_S = np.split(
            torch.from_numpy(local).numpy(), [batch.item_BL.size, batch.item_BL.size + len(batch.target_T)]
        )
        row = torch.from_numpy(row_U)
        embedding_UD, bias_U = leaves = self.rows.take(row)
        input_BLD = torch.nn.functional.embedding(
            torch.from_numpy(item_BL).view(batch.item_BL.shape), embedding_UD
        )
        state_TD = self.encoder(input_BLD, self.dropout).flatten(0, 1)[torch.from_numpy(batch.at_T)]
        loss = self._loss(state_TD, embedding_UD, bias_U, row_U, target_T, drawn_S)
        self.optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.rate * rate
        self.optimiser.step()
        self.rows.step(row, leaves, rate)

    def _loss(
        self,
        state_TD: Tensor,
        embedding_UD: Tensor,
        bias_U: Tensor,
        row_U: np.ndarray,
        target_T: np.ndarray,
        drawn_S: np.ndarray,
    ) -> Tensor:
        """Return the mean sampled softmax loss; each logit less the log of how often the item is expected in the draw."""
        expected_U = torch.from_numpy(
            np.log(np.maximum(self.chance_I[row_U] * self.config.negatives, 1e-12)).astype(np.float32)
        )
        bias_U = bias_U - expected_U
        target, drawn = torch.from_numpy(target_T), torch.from_numpy(drawn_S)
        hit_T = (state_TD * torch.nn.functional.embedding(target, embedding_UD)).sum(1) + bias_U[target]
        miss_TS = torch.addmm(bias_U[drawn], state_TD, embedding_UD[drawn].T)
        miss_TS = miss_TS.masked_fill(target[:, None] == drawn, -torch.inf)
        return (torch.logaddexp(miss_TS.logsumexp(1), hit_T) - hit_T).mean()


def _schedule(step: int, steps: int, warmup: float) -> float:
    warm = max(1.0, warmup * steps)
    return min((step + 1) / warm, 1.0) * 0.5 * (1 + np.cos(np.pi * step / steps))


def _embeddings(items: int, width: int, seed: int) -> Tensor:
    random = torch.Generator().manual_seed(seed + 1)
    return torch.empty(items, width).normal_(0.0, width**-0.5 / 2, generator=random)


def _encoder(config: SasRecConfig) -> Encoder:
    if config.width % config.heads:
        raise ConfigError(f"{config.heads} heads do not divide a width of {config.width}; choose a divisor")
    return Encoder(length=config.length, width=config.width, blocks=config.blocks, heads=config.heads)


def load(folder: Path) -> SasRec:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: SasRecConfig = build(SasRecConfig, artefact.read_json(folder / "config.json"), "sasrec")
    encoder = _encoder(config)
    try:
        weights = load_file(folder / "weights.safetensors")
        embedding_ID, bias_I = weights.pop("embedding"), weights.pop("bias")
        encoder.load_state_dict({name.removeprefix("encoder."): value for name, value in weights.items()})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise IntegrityError(
            f"weights.safetensors cannot be read ({error}); restore the artefact by its digest"
        ) from error
    return SasRec(config, encoder, embedding_ID, bias_I)


FAMILY = Family(
    config=SasRecConfig,
    fit=fit,
    load=load,
    paper="Kang, McAuley: Self-attentive sequential recommendation, ICDM 2018; Petrov, Macdonald: gSASRec, RecSys 2023",
    seeded=True,
)

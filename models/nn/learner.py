"""How a model of sequences learns: by sampled softmax of what comes next, whatever the encoder.

Sampled softmax over the items of the sequence itself (where repeats count) and a draw that the batch shares, corrected by how
likely each was drawn, so that scores are calibrated (Bengio & Senecal 2008; Petrov & Macdonald, "gSASRec", RecSys 2023). A
bias per item starts at its log share and is the prior for empty histories.
Shapes: I items, D width, B sequences, L positions, T targets, U rows that a step touches, S drawn items, G given columns.
"""

from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.data import TrainingSet
from models.families.sequential import SequenceConfig
from models.nn import start
from models.nn.adam import Adam
from models.nn.dropout import ByteDropout
from models.nn.repeat import own_logits
from models.nn.rows import RowAdam
from models.nn.sequences import Batch, Sequences
from models.nn.softmax import Draw, matches, softmax_loss
from models.nn.states import network
from models.nn.threads import one_thread

TOLD = 100  # points of the curve
FIRST_ADDED = 0.02  # standard deviation of weights that add to what is passed through


def fit(
    config: SequenceConfig, encoder: Callable[[Any], nn.Module], training: TrainingSet, seed: int
) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
    """Learn from every person's sequence by a settled config: the weights by name, float32, and how the loss fell.

    ConfigError when the config fits no network.
    """
    with one_thread():
        return _Learner(config, encoder, training, seed).learn()


class _Learner:
    """What changes while learning: weights, moments, generators."""

    def __init__(
        self, config: SequenceConfig, encoder: Callable[[Any], nn.Module], training: TrainingSet, seed: int
    ) -> None:
        known = training.interactions
        self.config = config
        self.random = np.random.default_rng(seed)
        self.sequences = Sequences(
            known, length=config.given_length, ahead=config.ahead or 1, repeats=bool(config.repeats)
        )
        self.network = network(config, encoder)
        initialise(self.network.encoder, seed)
        count_I = np.bincount(known.item_N, minlength=known.items)
        first_ID = start.embeddings(known, config.width, seed)
        self.embedding_ID = torch.from_numpy(first_ID).mul_(config.spread)
        share_I = (count_I + 0.01) / (count_I + 0.01).sum()
        self.bias_I = torch.from_numpy(np.log(share_I).astype(np.float32))
        self.draw = Draw(count_I, config.sampling)
        # where scores are cosines the bias takes no part, and stays what it began as
        tables = (self.embedding_ID,) if config.scale else (self.embedding_ID, self.bias_I)
        self.rows = RowAdam(tables, (config.row_rate,) * len(tables))
        self.optimiser = Adam(self.network.parameters(), config.rate)
        self.dropout = ByteDropout(config.dropout or 0.0, seed)

    def learn(self) -> tuple[dict[str, np.ndarray], list[dict[str, float]]]:
        """Take the steps, with a rate that warms up and then falls to zero along a cosine."""
        positions = self.config.positions or 1
        steps = max(1, round((self.config.epochs or 1) * self.sequences.steps(positions)))
        losses: list[tuple[int, float]] = []
        for step, batch in enumerate(islice(self.sequences.endless(positions, self.random), steps)):
            if len(batch.at_T):
                losses.append((step + 1, self._step(batch, _schedule(step, steps, self.config.warmup))))
        embedding_ID = F.normalize(self.embedding_ID, dim=1) if self.config.scale else self.embedding_ID
        learned = {**self.network.state_dict(), "embedding": embedding_ID, "bias": self.bias_I}
        return {name: value.numpy() for name, value in learned.items()}, curve(losses)

    def _step(self, batch: Batch, rate: float) -> float:
        negatives = self.config.negatives or 1
        drawn_S, times_S = self.draw(negatives, self.random)
        row_U, local = np.unique(
            np.concatenate([batch.item_BL.ravel(), batch.target_T, drawn_S]), return_inverse=True
        )
        row = torch.from_numpy(row_U)
        leaves = self.rows.take(row)
        embedding_UD, bias_U = self._read(leaves)
        item, target_T, drawn = torch.from_numpy(local).split(
            [batch.item_BL.size, len(batch.target_T), len(drawn_S)]
        )
        at_T = torch.from_numpy(batch.at_T)
        item_BL = item.view(batch.item_BL.shape)
        x_BLD = F.embedding(item_BL, embedding_UD)
        state_BLD = self.network(x_BLD, self.dropout)
        state_TD = state_BLD.flatten(0, 1).index_select(0, at_T)
        expected_U = torch.from_numpy(self.draw.expected(row_U, negatives))
        hit_T = (state_TD * F.embedding(target_T, embedding_UD)).sum(1) + bias_U[target_T]
        if self.network.repeat is None:
            given_TG = (hit_T - expected_U[target_T])[:, None]
        else:
            own_BLL = state_BLD @ x_BLD.transpose(1, 2) + bias_U[item_BL][:, None, :]
            given_TG = own_logits(
                self.network.repeat,
                hit_T,
                own_BLL,
                state_TD,
                item_BL=item_BL,
                at_T=at_T,
                target_T=target_T,
                expected_T=expected_U[target_T],
            )
        loss = softmax_loss(
            given_TG,
            state_TD,
            F.embedding(drawn, embedding_UD),
            (bias_U - expected_U)[drawn] + torch.from_numpy(np.log(times_S).astype(np.float32)),
            matches(batch.target_T, drawn_S),
        )
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step(rate)
        self.rows.step(row, leaves, rate)
        return float(loss.detach())

    def _read(self, leaves: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return a step's embeddings, [U, D], and biases, [U]; where there is a scale: of length one, and zeros."""
        if self.config.scale:
            return F.normalize(leaves[0], dim=1), torch.zeros(len(leaves[0]))
        return leaves[0], leaves[1]


def curve(losses: list[tuple[int, float]]) -> list[dict[str, float]]:
    """Return how the loss fell: at most TOLD points, each the last step of a run of them with the mean loss of the run."""
    runs = np.array_split(np.arange(len(losses)), min(TOLD, len(losses))) if losses else []
    return [
        {"step": losses[run[-1]][0], "loss": round(float(np.mean([losses[at][1] for at in run])), 6)}
        for run in runs
    ]


def initialise(module: nn.Module, seed: int) -> None:
    """Fill matrices by a generator of their own (Glorot & Bengio 2010), biases and lags with zeros; norms stay as they are.

    What is added to its own input (`out`, `outer`) begins near zero: with first embeddings that know what lies near what, a
    network that passes the latest item through is a better start than one that adds noise to it.
    """
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            *_, layer, last = ("", *name.split("."))
            if "norm" in layer:
                continue
            if "bias" in last or last == "lag":
                parameter.zero_()
            elif layer in ("out", "outer"):
                parameter.normal_(0.0, FIRST_ADDED, generator=random)
            else:
                nn.init.xavier_normal_(parameter, generator=random)


def _schedule(step: int, steps: int, warmup: float) -> float:
    warm = max(1.0, warmup * steps)
    return float(min((step + 1) / warm, 1.0) * 0.5 * (1 + np.cos(np.pi * step / steps)))

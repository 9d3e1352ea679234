"""A graph attention network over persons and items: an item hears some who took it, a person what they took.

At the start every edge is heard as LightGCN with one layer would carry it: by the roots of the degrees, and by age. From there
the network learns whom to hear: by what both ends are, by the age of what somebody took, and by how many took it. A person is
made when asked, of what they took, so nothing is kept of people.
Shapes: P people, J items at the fit, T targets, M edges, D width, H heads, A steps of age.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from counterfoil.errors import ConfigError, IntegrityError
from models import artefact, recency
from models.config import build
from models.data import DAY_US, Interactions, Query, Ranking, TrainingSet
from models.families import dense
from models.families.gat import GatConfig
from models.families.prior import Prior
from models.nn.attention import Attention
from models.nn.edges import Pace, learn
from models.nn.graph import Graph
from models.nn.neighbours import Neighbourhood, Neighbours
from models.nn.pooled import pooled
from models.nn.threads import one_thread
from models.recency import Recency

AGE_DAYS_A = np.geomspace(0.01, 10_000.0, 48)  # where the steps of age begin
FAINTEST = -20.0  # the lowest logit that age starts from


class Person(nn.Module):
    """A person out of what they took: attention to items by content, by age and by how many took them."""

    def __init__(self, width: int, heads: int, log_takers_J: np.ndarray, half_life_days: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        middle_A = np.append(AGE_DAYS_A, AGE_DAYS_A[-1] * 2)
        faded_A = np.maximum(-np.log(2) * middle_A / half_life_days, FAINTEST).astype(np.float32)
        self.age_AH = nn.Parameter(torch.from_numpy(faded_A)[:, None].repeat(1, heads))
        self.takers_H = nn.Parameter(torch.full((heads,), -0.5))
        self.register_buffer("log_takers_J", torch.from_numpy(log_takers_J.astype(np.float32)))

    def forward(self, item_JD: Tensor, neighbours: Neighbours) -> Tensor:
        """Return people, [T, D]."""
        even_M = torch.from_numpy(np.repeat(1.0 / neighbours.count_T, neighbours.count_T).astype(np.float32))
        mean_TD = pooled(item_JD, even_M, neighbours.item_M, neighbours.count_T)
        return self.attention(mean_TD, item_JD, neighbours.item_M, neighbours.count_T, self.edges(neighbours))

    def edges(self, neighbours: Neighbours) -> Tensor:
        """Return what is known of the edges as logits, [M, H]."""
        step_M = torch.from_numpy(np.searchsorted(AGE_DAYS_A, neighbours.age_days_M, "right"))
        takers_M = self.get_buffer("log_takers_J")[torch.from_numpy(neighbours.item_M)]
        return self.age_AH.index_select(0, step_M) + takers_M[:, None] * self.takers_H


class Network(nn.Module):
    """First vectors of the items, what they hear of people, and how a person is made of them."""

    def __init__(self, config: GatConfig, known: Interactions, half_life_days: float, seed: int) -> None:
        super().__init__()
        self.graph = Graph(known)
        self.vector_JD = nn.Parameter(torch.from_numpy(self.graph.leading(config.width, seed)))
        self.heard_M, self.count_J = takers(known, config.takers)
        degree_P = np.maximum(np.diff(self.graph.edge_PI.indptr), 1)
        self.log_degree_M = torch.from_numpy(np.log(degree_P[self.heard_M]).astype(np.float32))[:, None]
        known_IP = self.graph.edge_IP.tocoo()
        # what softmax divides by and LightGCN does not
        total_J = np.bincount(known_IP.row, weights=degree_P[known_IP.col] ** -0.5, minlength=known.items)
        loud_J = total_J / np.sqrt(np.maximum(self.graph.takers_I, 1))
        self.loud_J1 = torch.from_numpy(loud_J.astype(np.float32))[:, None]
        self.item = Attention(config.width, config.heads)
        self.degree_H = nn.Parameter(torch.full((config.heads,), -0.5))
        log_takers_J = np.log(np.maximum(self.graph.takers_I, 1))
        self.person = Person(config.width, config.heads, log_takers_J, half_life_days)
        random = torch.Generator().manual_seed(seed)
        self.item.initialise(random)
        self.person.attention.initialise(random)

    def tables(self) -> tuple[Tensor, Tensor]:
        """Return the items with what they hear; they are answered and speak as the same."""
        if not len(self.heard_M):
            return self.vector_JD, self.vector_JD
        heard_JD = self.item(
            self.vector_JD,
            self.graph.people(self.vector_JD),
            self.heard_M,
            self.count_J,
            self.log_degree_M * self.degree_H,
        )
        item_JD = (self.vector_JD + heard_JD * self.loud_J1) / 2
        return item_JD, item_JD

    def people(self, said_JD: Tensor, neighbours: Neighbours) -> Tensor:
        """Return people, [T, D]."""
        made: Tensor = self.person(said_JD, neighbours)
        return made


class Gat:
    """Items with what they heard, [J, D], how a person is made of them, and the prior."""

    def __init__(self, config: GatConfig, item_JD: Tensor, person: Person, buyers_J: np.ndarray) -> None:
        self.config = config
        self.item_JD = item_JD
        self.person = person.eval()
        self.buyers_J = buyers_J
        self.prior = Prior(buyers_J, feature=config.feature, weight=config.prior_weight)
        self.recency = Recency.of(config)
        self._unit_JD = F.normalize(item_JD, dim=1)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items nearest to what the person hears; InputError for a question that does not fit.

        Who took nothing that was learned gets the prior alone.
        """
        dense.check(query, k, len(self.buyers_J))

        def score(part: Query) -> np.ndarray:
            taken_PI = self.recency.weights(part.history, part.as_of_us)
            score_PI = np.zeros((part.people, part.items), np.float32)
            score_PI[:, : len(self.buyers_J)] = self._score(part)
            return self.recency.mix(score_PI, len(self.buyers_J), taken_PI, self.prior.of(part))

        with one_thread(), torch.inference_mode():
            return dense.rank(query, k, GatConfig.family, score)

    def save(self, folder: Path) -> None:
        """Write `config.json`, `weights.safetensors` and `buyers.npy`."""
        artefact.write_json(folder / "config.json", self.config)
        weights = {name: value.contiguous() for name, value in self.person.state_dict().items()}
        save_file({**weights, "item": self.item_JD.contiguous()}, folder / "weights.safetensors")
        artefact.write_array(folder / "buyers.npy", self.buyers_J)

    def _score(self, part: Query) -> np.ndarray:
        """Return cosines, float32 [P, J]; what nobody took lies as far as the farthest."""
        known = part.history.where(part.history.item_N < len(self.buyers_J)).last(self.config.length)
        count_P = np.diff(known.indptr)
        score_PJ = torch.zeros(part.people, len(self.buyers_J))
        row_T = np.flatnonzero(count_P)
        if len(row_T):
            age_us_M = np.maximum(part.as_of_us - known.time_N, 0)
            neighbours = Neighbours(
                item_M=known.item_N.astype(np.int64),
                age_days_M=(age_us_M / DAY_US).astype(np.float32),
                count_T=count_P[row_T],
            )
            person_TD = F.normalize(self.person(self.item_JD, neighbours), dim=1)
            score_PJ[torch.from_numpy(row_T)] = person_TD @ self._unit_JD.T
        unknown_J = torch.from_numpy(self.buyers_J == 0)
        if unknown_J.any():
            score_PJ[:, unknown_J] = score_PJ.amin(dim=1, keepdim=True)
        return score_PJ.numpy()


def takers(known: Interactions, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Return for each item the last `most` people who took it, item by item, int64 [M], and how many they are, int64 [J]."""
    order_N = np.lexsort((known.person_N, -known.time_N, known.item_N))
    pair_N = known.item_N[order_N].astype(np.int64) * max(known.people, 1) + known.person_N[order_N]
    first_N = np.sort(np.unique(pair_N, return_index=True)[1])
    item_N, person_N = known.item_N[order_N][first_N], known.person_N[order_N][first_N]
    begin_J = np.searchsorted(item_N, np.arange(known.items))
    kept_N = np.arange(len(item_N)) - begin_J[item_N] < most
    count_J = np.bincount(item_N[kept_N], minlength=known.items)
    return person_N[kept_N].astype(np.int64), count_J.astype(np.int64)


def fit(config: GatConfig, training: TrainingSet, seed: int) -> Gat:
    """Learn vectors and attention; one thread, so that a seed gives the same bytes. ConfigError for heads that do not fit."""
    _check(config)
    config = recency.settled(config, training)
    known = training.interactions
    with one_thread():
        network = Network(config, known, Recency.of(config).half_life_days, seed)
        learn(
            network, Neighbourhood(known, length=config.length), network.graph.takers_I, Pace.of(config), seed
        )
        with torch.no_grad():
            item_JD = network.tables()[0].clone()
    return Gat(config, item_JD, network.person, dense.buyers(known))


def load(folder: Path) -> Gat:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: GatConfig = build(GatConfig, artefact.read_json(folder / "config.json"), "gat")
    _check(config)
    buyers_J = artefact.read_array(folder / "buyers.npy", np.float32)
    person = Person(config.width, config.heads, np.zeros(len(buyers_J)), config.half_life_days or 90.0)
    try:
        weights = load_file(folder / "weights.safetensors")
        item_JD = weights.pop("item")
        person.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise IntegrityError(
            f"weights.safetensors cannot be read ({error}); restore the artefact by its digest"
        ) from error
    if tuple(item_JD.shape) != (len(buyers_J), config.width):
        raise IntegrityError(
            f"{len(item_JD)} vectors for {len(buyers_J)} items; restore the artefact by its digest"
        )
    return Gat(config, item_JD, person, buyers_J)


def _check(config: GatConfig) -> None:
    if config.width % config.heads:
        raise ConfigError(f"{config.heads} heads do not divide a width of {config.width}; choose a divisor")

"""How two towers learn, and how they answer.

Each batch of targets is its own draw of negatives. What sells often is drawn often, so the log of an item's chance to be drawn is
taken off its score (Yi et al., RecSys 2019, equation 4; the catalogue is at hand, so that chances are counted, not estimated from
the stream). The target itself is certain to be there, so its own score stays as it is (Khrylchenko et al., RecSys 2025).
Shapes: P people, J items at the fit, C items that came later, B targets of a batch, U items of a batch, K list length, D width,
F features.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.sparse import coo_matrix, csr_matrix
from torch import Tensor

from counterfoil.errors import InputError, IntegrityError
from models import artefact, index, recency
from models.config import build, changed
from models.data import Content, Features, Query, Ranking, TrainingSet
from models.families import dense, tokens
from models.families.repurchase import decay
from models.families.tokens import Tokens
from models.families.twotower import TwoTowerConfig
from models.family import best_of
from models.index import Vectors
from models.nn.adam import Adam
from models.nn.graph import Graph
from models.nn.neighbours import Neighbourhood, Neighbours
from models.nn.pooled import pooled
from models.nn.rows import RowAdam
from models.nn.softmax import NEVER, softmax_loss
from models.nn.threads import one_thread
from models.nn.towers import Towers, initialise, logged, scaled

ASKED_AT_ONCE = 1024
ALONE = 0.05  # share of the targets that are asked for without a history, as those of strangers are
WARM = 0.05  # share of the steps in which the rate rises


class TwoTower:
    """Towers, the items' rows that go into both [J, D+1], the vectors that come out, and what they were scaled by."""

    def __init__(
        self,
        config: TwoTowerConfig,
        towers: Towers,
        row_JD: Tensor,
        told: "Told",
        said: Tokens,
        vectors: Vectors,
    ) -> None:
        self.config = config
        self.towers = towers.eval()
        self.row_JD = row_JD
        self.told = told
        self.tokens = said
        self.vectors = vectors
        self._later: tuple[Content | None, Tensor, Vectors] = (None, row_JD, vectors)

    def recommend(self, query: Query, k: int) -> Ranking:
        """Return the `k` items with the largest inner products; InputError for a question that does not fit.

        Who took nothing gets what their features say, or what sells; later items of which nothing is said rank last.
        """
        return self._ranked(query, k, exactly=False)

    def exactly(self, query: Query, k: int) -> Ranking:
        """Return what `recommend` would if every product were computed."""
        return self._ranked(query, k, exactly=True)

    def _ranked(self, query: Query, k: int, *, exactly: bool) -> Ranking:
        dense.check(query, k, len(self.row_JD))
        k = min(k, query.items)
        item_PK = np.full((query.people, k), -1, np.int32)
        score_PK = np.full((query.people, k), -np.inf, np.float32)
        with one_thread(), torch.inference_mode():
            row_ID, vectors = self._catalogue(query.items, query.content)
            vectors = vectors.whole if exactly else vectors
            start = 0
            for part in query.parts(ASKED_AT_ONCE):
                span = slice(start, start + part.people)
                item_PK[span], score_PK[span] = self._answer(part, k, row_ID, vectors)
                start += part.people
        shown_PK = (item_PK >= 0).astype(np.uint8)
        return Ranking(
            item_PK=item_PK, score_PK=score_PK, sources=(TwoTowerConfig.family,), source_PK=shown_PK
        )

    def save(self, folder: Path) -> None:
        """Write `config.json`, `weights.safetensors`, the tokens, and the vectors with their index."""
        artefact.write_json(folder / "config.json", self.config)
        artefact.write_json(folder / "features.json", {"names": self.told.names})
        weights = {name: value.contiguous() for name, value in self.towers.state_dict().items()}
        scales = {
            "centre": torch.from_numpy(self.told.centre_F),
            "spread": torch.from_numpy(self.told.spread_F),
        }
        save_file({**weights, **scales, "row": self.row_JD}, folder / "weights.safetensors")
        self.tokens.save(folder)
        self.vectors.save(folder)

    def _answer(self, part: Query, k: int, row_ID: Tensor, vectors: Vectors) -> tuple[np.ndarray, np.ndarray]:
        mass_PI = part.history.matrix(decay(part.history, part.as_of_us, self.config.half_life_days or 90.0))
        total_P1 = np.maximum(mass_PI.sum(axis=1), 1e-30).reshape(-1, 1)
        mean_PD = torch.from_numpy(((mass_PI @ row_ID[:, :-1].numpy()) / total_P1).astype(np.float32))
        person_PD = self.towers.people(mean_PD, self.told.of(part.features)).numpy()
        item_PK, score_PK = vectors.search(person_PD, k, allowed_I=part.allowed_I, exclude=part.exclude)
        more_N = self.towers.repeats(torch.from_numpy(mass_PI.data)).numpy()
        for row in range(part.people):
            held = slice(mass_PI.indptr[row], mass_PI.indptr[row + 1])
            own, more = mass_PI.indices[held], more_N[held]
            may = np.ones(len(own), bool) if part.allowed_I is None else part.allowed_I[own]
            if part.exclude is not None:
                may &= ~np.isin(own, part.exclude[row])
            if not may.any():
                continue
            found = item_PK[row] >= 0
            other = found & ~np.isin(item_PK[row], own)
            own_score = vectors.vector_ID[own[may]] @ person_PD[row] + more[may]
            pool = np.concatenate([item_PK[row][other], own[may]])
            score = np.concatenate([score_PK[row][other], own_score])
            order = np.argsort(pool, kind="stable")
            best = order[best_of(score[order], k)]
            item_PK[row, : len(best)], score_PK[row, : len(best)] = pool[best], score[best]
        return item_PK, score_PK

    def _catalogue(self, items: int, content: Content | None) -> tuple[Tensor, Vectors]:
        """Return rows and vectors of a catalogue of that size; those of later items are kept until content changes."""
        learned = len(self.row_JD)
        if items == learned:
            return self.row_JD, self.vectors
        known, row_ID, vectors = self._later
        if known is not content or len(vectors) != items:
            later_CV = nothing(items - learned, len(self.tokens))
            if content is not None:
                if len(content) != items:
                    raise InputError(
                        f"content describes {len(content)} items of {items}; describe every one of them"
                    )
                later_CV = self.tokens.of(content, np.arange(learned, items))
            row_CD = self.towers.said(later_CV)
            vector_CD = self.towers.items(row_CD).numpy().copy()
            silent_C = np.diff(later_CV.indptr) == 0
            row_CD[torch.from_numpy(silent_C)] = 0
            # cosines over the temperature lie in a span of twice its inverse, so that this bias is below all
            vector_CD[silent_C, :-1] = 0
            vector_CD[silent_C, -1] = self.vectors.vector_ID[:, -1].min() - 2 / self.config.temperature
            row_ID, vectors = torch.cat([self.row_JD, row_CD]), self.vectors.extended(vector_CD)
            self._later = (content, row_ID, vectors)
        return row_ID, vectors


class Told:
    """What is known of people by features of these names, and how they are scaled: centre and spread, float32 [F]."""

    def __init__(self, names: tuple[str, ...], centre_F: np.ndarray, spread_F: np.ndarray) -> None:
        self.names = names
        self.centre_F = centre_F
        self.spread_F = spread_F

    def of(self, features: Features) -> Tensor:
        """Return a question's features, scaled, [P, 2F]; unknown where the question does not bring them."""
        person_PF = np.full((len(features.person_PF), len(self.names)), np.nan, np.float32)
        for column, name in enumerate(self.names):
            if name in features.person_names:
                person_PF[:, column] = features.person_PF[:, features.person_names.index(name)]
        return scaled(person_PF, self.centre_F, self.spread_F)


def told(training: TrainingSet) -> Told:
    """Scale the features of people by what was known at the cut-offs."""
    names = training.features.person_names
    known = [features.person_PF for features in training.cutoffs.values()] or [training.features.person_PF]
    stacked = np.concatenate(known).astype(np.float64)
    value = np.ma.masked_invalid(logged(stacked))
    centre_F = np.ma.filled(value.mean(axis=0), 0.0) if len(stacked) else np.zeros(len(names))
    spread_F = np.ma.filled(value.std(axis=0), 0.0) if len(stacked) else np.zeros(len(names))
    return Told(
        names, centre_F.astype(np.float32), np.where(spread_F > 1e-6, spread_F, 1.0).astype(np.float32)
    )


def fit(config: TwoTowerConfig, training: TrainingSet, seed: int) -> TwoTower:
    """Learn the towers; one thread and one generator, so that a seed gives the same bytes."""
    chosen = recency.choose(training, config.half_life_days, 0.0)
    config = changed(config, {"half_life_days": chosen.half_life_days})
    with one_thread():
        return _Learner(config, training, seed).learn()


class _Learner:
    """What changes while learning: weights, rows, moments, the generator."""

    def __init__(self, config: TwoTowerConfig, training: TrainingSet, seed: int) -> None:
        known = training.interactions
        self.config, self.training = config, training
        self.random = np.random.default_rng(seed)
        self.near = Neighbourhood(known, length=config.length, own=training.repeats)
        self.person_N = known.person_N
        self.tokens = tokens.learned(training.content, config.tokens)
        self.said_JV = nothing(known.items, len(self.tokens))
        if training.content is not None:
            self.said_JV = self.tokens.of(training.content, np.arange(known.items))
        self.told = told(training)
        self.moments = np.array(sorted(training.cutoffs), np.int64)
        self.feature_CPF = [self.told.of(training.cutoffs[moment]) for moment in self.moments.tolist()]
        self.towers = _towers(config, len(self.tokens), len(self.told.names))
        initialise(self.towers, seed)
        count_J = np.bincount(known.item_N[self.near.target_N], minlength=known.items) + 0.1
        self.chance_J = torch.from_numpy(np.log(count_J / count_J.sum()).astype(np.float32))
        start_JD = Graph(known).leading(config.width, seed)
        # less the mean, so that an item of which only the content is known begins as one that sells as most do
        row_JD = np.column_stack([start_JD, (self.chance_J - self.chance_J.mean()).numpy()])
        self.id_JD = torch.from_numpy(row_JD.astype(np.float32))
        self.rows = RowAdam([self.id_JD], [config.rate])
        self.optimiser = Adam(self.towers.parameters(), config.rate)

    def learn(self) -> TwoTower:
        """Take the steps, with a rate that warms up and then falls to zero along a cosine."""
        targets = self.near.target_N
        total = min(self.config.epochs * len(targets), self.config.targets)
        steps = -(-total // self.config.batch)
        queue = np.zeros(0, np.int64)
        for step in range(steps):
            while len(queue) < self.config.batch and len(targets):
                queue = np.concatenate([queue, self.random.permutation(targets)])
            warm = min((step + 1) / max(1.0, WARM * steps), 1.0)
            self._step(queue[: self.config.batch], warm * 0.5 * (1 + np.cos(np.pi * step / steps)))
            queue = queue[self.config.batch :]
        with torch.no_grad():
            row_JD = self.id_JD + self.towers.said(self.said_JV)
            vector_JD = self.towers.items(row_JD).numpy()
        vectors = Vectors(vector_JD, exact=self.config.exact)
        return TwoTower(self.config, self.towers, row_JD, self.told, self.tokens, vectors)

    def _step(self, at_B: np.ndarray, rate: float) -> None:
        at_B, near = self.near.of(np.sort(at_B))
        if len(at_B) < 2:
            return
        target_B = self.near.item_N[at_B]
        row_U, local = np.unique(np.concatenate([target_B, near.item_M]), return_inverse=True)
        own_B, own_M = local[: len(target_B)], local[len(target_B) :]
        row = torch.from_numpy(row_U)
        leaves = self.rows.take(row)
        x_UD = leaves[0]
        if len(self.tokens):
            said_UV = self.said_JV[row_U]
            hidden_U = (self.random.random(len(row_U)) < self.config.unknown) & (np.diff(said_UV.indptr) > 0)
            x_UD = x_UD * torch.from_numpy(~hidden_U)[:, None] + self.towers.said(said_UV)
        mass_M = np.exp2(-near.age_days_M / (self.config.half_life_days or 90.0)).astype(np.float32)
        had_BU = csr_matrix((mass_M, own_M, np.append(near.start_T, len(own_M))), (len(at_B), len(row_U)))
        person_BD = self.towers.people(self._mean(x_UD, own_M, mass_M, near), self._features(at_B))
        loss = self._loss(person_BD, x_UD, own_B, row_U, had_BU)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step(rate)
        self.rows.step(row, leaves, rate)

    def _mean(self, x_UD: Tensor, own_M: np.ndarray, mass_M: np.ndarray, near: Neighbours) -> Tensor:
        """Return the decayed mean of what people took before, [B, D]; zeros for those who are asked as strangers."""
        total_B = np.add.reduceat(mass_M, near.start_T)
        scale_B = (self.random.random(len(total_B)) >= ALONE) / np.maximum(total_B, 1e-30)
        weight_M = mass_M * np.repeat(scale_B, near.count_T)
        return pooled(
            x_UD[:, :-1].contiguous(), torch.from_numpy(weight_M.astype(np.float32)), own_M, near.count_T
        )

    def _loss(
        self, person_BD: Tensor, x_UD: Tensor, own_B: np.ndarray, row_U: np.ndarray, had_BU: csr_matrix
    ) -> Tensor:
        """Return the mean loss of the targets `own_B` among the distinct ones of the batch.

        Where people are not asked for what they had, it is no answer of theirs; elsewhere it has a term for that.
        """
        drawn_S, place_B, times_S = np.unique(own_B, return_inverse=True, return_counts=True)
        item_SD = self.towers.items(x_UD.index_select(0, torch.from_numpy(drawn_S)))
        place = torch.from_numpy(place_B)
        hit_B = (person_BD * item_SD.index_select(0, place)).sum(1)
        expected_S = self.chance_J[row_U[drawn_S]] + float(np.log(len(own_B)))
        bias_S = item_SD[:, -1] - expected_S + torch.from_numpy(np.log(times_S).astype(np.float32))
        had_BS = had_BU[:, drawn_S].tocoo()
        matched = np.stack([np.arange(len(own_B)), place_B], axis=1)
        given_BG = hit_B[:, None]
        if len(had_BS.data):
            own_N = had_BS.col == place_B[had_BS.row]
            matched = np.concatenate([matched, np.stack([had_BS.row, had_BS.col], axis=1)[~own_N]])
            matched = matched[np.argsort(matched[:, 0], kind="stable")]
            if self.training.repeats:
                given_BG = self._with_repeats(person_BD, item_SD, bias_S, hit_B, had_BS, own_N)
        return softmax_loss(given_BG, person_BD[:, :-1], item_SD[:, :-1], bias_S, matched)

    def _with_repeats(
        self,
        person_BD: Tensor,
        item_SD: Tensor,
        bias_S: Tensor,
        hit_B: Tensor,
        had_BS: coo_matrix,
        own_N: np.ndarray,
    ) -> Tensor:
        """Return the targets' scores, and beside them those of what each person has had, [B, 1 + G]; all with their terms."""
        row, column = (torch.from_numpy(index.astype(np.int64)) for index in (had_BS.row, had_BS.col))
        more_N = self.towers.repeats(torch.from_numpy(had_BS.data))
        hit_B = hit_B.index_add(0, row[own_N], more_N[own_N])
        row, column, more_N = row[~own_N], column[~own_N], more_N[~own_N]
        vector_ND = item_SD[:, :-1].index_select(0, column)
        score_N = (person_BD[:, :-1].index_select(0, row) * vector_ND).sum(1) + bias_S[column] + more_N
        count_B = np.bincount(row.numpy(), minlength=len(hit_B))
        within_N = np.arange(len(row)) - np.repeat(np.cumsum(count_B) - count_B, count_B)
        other_BG = torch.full((len(hit_B), max(1, int(count_B.max(initial=0)))), NEVER)
        other_BG = other_BG.index_put((row, torch.from_numpy(within_N)), score_N)
        return torch.cat([hit_B[:, None], other_BG], dim=1)

    def _features(self, at_B: np.ndarray) -> Tensor:
        """Return what was known of the people at the last cut-off before each target, [B, 2F]; nothing before the first."""
        out_BF = torch.zeros(len(at_B), 2 * len(self.told.names))
        cut_B = np.searchsorted(self.moments, self.near.time_N[at_B], "right") - 1
        for cut, feature_PF in enumerate(self.feature_CPF):
            at = np.flatnonzero(cut_B == cut)
            out_BF[at] = feature_PF[self.person_N[at_B[at]]]
        return out_BF


def nothing(items: int, count: int) -> csr_matrix:
    """Return tokens of items of which nothing is said, float32 sparse [items, count]."""
    none = (np.zeros(0, np.float32), np.zeros(0, np.int32), np.zeros(items + 1, np.int64))
    return csr_matrix(none, shape=(items, count))


def _towers(config: TwoTowerConfig, tokens: int, features: int) -> Towers:
    """Make towers; torch draws first weights from its global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return Towers(
            width=config.width,
            hidden=config.hidden,
            tokens=tokens,
            features=features,
            temperature=config.temperature,
        )


def load(folder: Path) -> TwoTower:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config: TwoTowerConfig = build(TwoTowerConfig, artefact.read_json(folder / "config.json"), "twotower")
    said = tokens.load(folder)
    names = artefact.read_json(folder / "features.json").get("names")
    if not isinstance(names, list):
        raise IntegrityError("features.json holds no list of names; restore the artefact by its digest")
    towers = _towers(config, len(said), len(names))
    try:
        weights = load_file(folder / "weights.safetensors")
        row_JD, centre_F, spread_F = (weights.pop(name) for name in ("row", "centre", "spread"))
        towers.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise IntegrityError(
            f"weights.safetensors cannot be read ({error}); restore the artefact by its digest"
        ) from error
    vectors = index.load(folder)
    if vectors.vector_ID.shape != tuple(row_JD.shape):
        raise IntegrityError(
            f"{len(vectors)} vectors for {len(row_JD)} items; restore the artefact by its digest"
        )
    scales = Told(tuple(names), centre_F.numpy(), spread_F.numpy())
    return TwoTower(config, towers, row_JD, scales, said, vectors)

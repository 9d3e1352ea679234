"""First embeddings from what is taken near each other: they save most of the epochs that learning from noise would take.

Co-occurrences within a few places, fading with the distance, as shifted positive pointwise mutual information, factored by a
truncated SVD: what word2vec with negative sampling factors too (Levy & Goldberg, NeurIPS 2014; contexts smoothed by the
power 3/4: Levy, Goldberg & Dagan, TACL 2015). Shapes: N interactions, I items, D width.
"""

import numpy as np
from scipy.sparse import csr_matrix

from models.data import Interactions
from models.nn.factors import truncated_svd

READ = 2_000_000  # interactions at most, of whole people
NEAR = 10  # places
FADE = 0.7  # per place
SMOOTHED = 0.75
NOISE = 0.1  # of the spread, so that items without a neighbour are not all one


def embeddings(interactions: Interactions, width: int, seed: int) -> np.ndarray:
    """Return embeddings of mean 0 and variance about 1, float32 [I, D]; the same for any number of threads."""
    random = np.random.default_rng(seed)
    noise_ID = random.standard_normal((interactions.items, width), np.float32)
    information_II = _information(_near(interactions))
    if min(information_II.shape) <= width or not information_II.nnz:
        return noise_ID
    left_ID, value_D, _ = truncated_svd(information_II, width, passes=2, seed=seed)
    factor_ID = (left_ID * np.sqrt(value_D)).astype(np.float32)
    return factor_ID / max(float(factor_ID.std()), 1e-12) + np.float32(NOISE) * noise_ID


def _near(interactions: Interactions) -> csr_matrix:
    """Add up how often two items lie near each other in a person's history, nearer counting more, float32 [I, I], symmetric."""
    if len(interactions) > READ:
        interactions = interactions.where(interactions.person_N % -(-len(interactions) // READ) == 0)
    near_II = _apart(interactions, 1)
    for places in range(2, NEAR + 1):
        near_II = near_II + FADE ** (places - 1) * _apart(interactions, places)
    return (near_II + near_II.T).tocsr()


def _apart(interactions: Interactions, places: int) -> csr_matrix:
    """Count how often an item lies so many places after another one, float32 [I, I]."""
    one_N, other_N = interactions.item_N[:-places], interactions.item_N[places:]
    same_N = interactions.person_N[:-places] == interactions.person_N[places:]
    pair_N = same_N & (one_N != other_N)
    count_M = np.ones(int(pair_N.sum()), np.float32)
    return csr_matrix((count_M, (one_N[pair_N], other_N[pair_N])), shape=(interactions.items,) * 2)


def _information(near_II: csr_matrix) -> csr_matrix:
    """Replace counts by the log of how much likelier two items meet than by chance, where that is above zero."""
    count_I = np.asarray(near_II.sum(axis=1)).ravel().astype(np.float64)
    smoothed_I = count_I**SMOOTHED
    chance_I = smoothed_I / max(smoothed_I.sum(), 1.0)
    row_M = np.repeat(np.arange(near_II.shape[0]), np.diff(near_II.indptr))
    ratio_M = near_II.data / np.maximum(count_I[row_M] * chance_I[near_II.indices], 1e-12)
    near_II.data = np.log(np.maximum(ratio_M, 1.0)).astype(np.float32)
    near_II.eliminate_zeros()
    return near_II

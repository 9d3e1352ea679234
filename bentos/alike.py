"""Which items are like each other by what the catalogue says of them: neighbours on the same shelf, by their words.

For items that nobody took yet there is nothing else to go by. Shapes: I items, K neighbours, W words.
"""

import numpy as np
from scipy.sparse import csr_matrix

from models.data import Content

NEIGHBOURS = 16
SHELF_ITEMS = 2_000  # of a shelf that its items are held against: those taken most
BLOCK = 1_024
PATH = " > "


def neighbours(content: Content, rank_I: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per item those most like it, int32 [I, 16] (-1: none), and how much, float16 [I, 16] from 0 to 1.

    Likeness is the cosine of weighted words (title, description, shelf, brand; TF-IDF, Salton and Buckley 1988). An item is held
    against the items of its narrowest shelf that has more than 16; `rank_I` (0: taken most) says whom a crowded shelf leaves out.
    """
    word_IW = _words(content)
    like_IK = np.full((len(content), NEIGHBOURS), -1, np.int32)
    likeness_IK = np.zeros((len(content), NEIGHBOURS), np.float16)
    for asking, shelf in _shelves(content, rank_I):
        on_WS = word_IW[shelf].T.tocsc()
        for start in range(0, len(asking), BLOCK):
            some = asking[start : start + BLOCK]
            score_CS = np.asarray((word_IW[some] @ on_WS).todense(), np.float32)
            score_CS[shelf[None, :] == some[:, None]] = -1.0
            count = min(NEIGHBOURS, len(shelf))
            best_CK = np.argsort(-score_CS, axis=1, kind="stable")[:, :count]
            likeness_CK = np.take_along_axis(score_CS, best_CK, 1)
            like_IK[some, :count] = np.where(likeness_CK > 0, shelf[best_CK], -1)
            likeness_IK[some, :count] = np.maximum(likeness_CK, 0)
    return like_IK, likeness_IK


def _words(content: Content) -> csr_matrix:
    """Return weighted words, rows of length one, float32 [I, W]."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    columns = (content.title_I, content.text_I, content.category_I, content.brand_I)
    texts = [" ".join(part for part in parts if part) for parts in zip(*columns, strict=True)]
    try:
        return csr_matrix(TfidfVectorizer(sublinear_tf=True, dtype=np.float32).fit_transform(texts))
    except ValueError:  # not one word is said of any item
        return csr_matrix(np.zeros((len(texts), 1), np.float32))


def _shelves(content: Content, rank_I: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (items that ask, items they are held against) per shelf: the narrowest that has enough, else the whole shop."""
    everything = np.arange(len(content), dtype=np.int32)
    left, out = everything, []
    paths = [category.split(PATH) if category else [] for category in content.category_I]
    for depth in range(max(map(len, paths), default=0), 0, -1):
        by_name: dict[str, list[int]] = {}
        for item in everything.tolist():
            if len(paths[item]) >= depth:
                by_name.setdefault(PATH.join(paths[item][:depth]), []).append(item)
        waiting = np.zeros(len(content), bool)
        waiting[left] = True
        for items in by_name.values():
            shelf = np.array(items, np.int32)
            asking = shelf[waiting[shelf]]
            if len(shelf) > NEIGHBOURS and len(asking):
                out.append((asking, _most(shelf, rank_I)))
                waiting[asking] = False
        left = np.flatnonzero(waiting).astype(np.int32)
    return [*out, (left, _most(everything, rank_I))] if len(left) else out


def _most(shelf: np.ndarray, rank_I: np.ndarray) -> np.ndarray:
    return np.sort(shelf[np.argsort(rank_I[shelf], kind="stable")[:SHELF_ITEMS]])

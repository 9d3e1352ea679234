"""TF-IDF: people who took what is described in certain words are offered what is described in the same words.

Title, text, category and brand make one document per item. Words that few items share speak loudest; new items are described
like the others and are answered on their first day. Shapes: J items at the fit, C later items, V terms.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from scipy.sparse import csr_matrix

from counterfoil.errors import ConfigError, IntegrityError
from models import artefact
from models.config import bounds
from models.data import Content, TrainingSet
from models.families.content import ByVectors, VectorConfig, fit_by, load_by, require
from models.family import Family
from models.vectors import Matrix, unit

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer


@dataclass(frozen=True, kw_only=True)
class TfidfConfig(VectorConfig):
    """What a term is: whole words, or runs of letters within words; of at most `longest` words (or letters).

    Terms in fewer than `least_items` items tell nothing of others; of the rest the `terms` most frequent are kept.
    """

    family: ClassVar[str] = "tfidf"
    analyzer: Literal["word", "char_wb"] = "word"
    shortest: int = bounds(1, 1, 10)
    longest: int = bounds(1, 1, 10)
    least_items: int = bounds(2, 1, 1_000_000)
    terms: int = bounds(100_000, 1, 10_000_000)


class TermEncoder:
    """The vocabulary with its idf."""

    def __init__(self, config: TfidfConfig, terms: list[str], idf_V: np.ndarray) -> None:
        self.terms = terms
        self.idf_V = idf_V
        self._vectorizer = _vectorizer(config, vocabulary={term: index for index, term in enumerate(terms)})
        self._vectorizer.idf_ = idf_V

    def encode(self, content: Content, item_C: np.ndarray) -> csr_matrix:
        """Return the weights of the terms, rows of length one, float32 sparse [C, V]."""
        return unit(self._vectorizer.transform(documents(content, item_C)))

    def save(self, folder: Path) -> None:
        """Write `terms.json` and `idf.npy`."""
        artefact.write_json(folder / "terms.json", {"terms": self.terms})
        artefact.write_array(folder / "idf.npy", self.idf_V)


def documents(content: Content, item_C: np.ndarray) -> list[str]:
    """Return all that is said of each item as one text."""
    fields = (content.title_I, content.text_I, content.category_I, content.brand_I)
    return [" . ".join(field[item] for field in fields if field[item]) for item in item_C.tolist()]


def fit(config: TfidfConfig, training: TrainingSet, seed: int) -> ByVectors:
    """Learn the vocabulary from the catalogue; nothing is random. ConfigError when nothing is said of any item."""
    content = require(
        training,
        "tfidf",
        _says_anything,
        "title, text, category or brand",
        "a family that goes by who took what",
    )
    everything = np.arange(len(content))
    vectorizer = _vectorizer(config)
    try:
        vectorizer.fit(documents(content, everything))
    except ValueError:
        raise ConfigError(
            f"no term is in {config.least_items} items or more, so tfidf cannot tell which are alike; lower least_items"
        ) from None
    encoder = TermEncoder(
        config, list(vectorizer.get_feature_names_out()), vectorizer.idf_.astype(np.float64)
    )

    def learn(_: TrainingSet) -> Matrix:
        return encoder.encode(content, everything)

    return fit_by(config, training, learn, encoder, from_content=True)


def load(folder: Path) -> ByVectors:
    """Read what `save` wrote; IntegrityError when it is not that."""
    config, vector_JV, buyers_J = load_by(folder, TfidfConfig, sparse=True)
    terms = artefact.read_json(folder / "terms.json").get("terms")
    idf_V = artefact.read_array(folder / "idf.npy", np.float64)
    if not isinstance(terms, list) or not len(terms) == len(idf_V) == vector_JV.shape[1]:
        raise IntegrityError(
            "terms.json and idf.npy do not fit each other; restore the artefact by its digest"
        )
    return ByVectors(config, vector_JV, buyers_J, TermEncoder(config, terms, idf_V))


def _says_anything(content: Content) -> bool:
    fields = (content.title_I, content.text_I, content.category_I, content.brand_I)
    return any(any(field) for field in fields)


def _vectorizer(config: TfidfConfig, vocabulary: dict[str, int] | None = None) -> "TfidfVectorizer":
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer=config.analyzer,
        ngram_range=(config.shortest, max(config.shortest, config.longest)),
        token_pattern=r"(?u)\b\w+\b" if config.analyzer == "word" else None,
        min_df=config.least_items,
        max_features=config.terms,
        vocabulary=vocabulary,
        sublinear_tf=True,
        strip_accents="unicode",
    )


FAMILY = Family(
    config=TfidfConfig,
    fit=fit,
    load=load,
    paper="Lops, de Gemmis, Semeraro: Content-based recommender systems: state of the art and trends, 2011",
)

"""Models of sequences whose weights are drawn, not learned, and a question to them about one history or several."""

from typing import Any

import numpy as np
import torch

from models.data import Interactions, Query
from models.families import gru4rec, sasrec
from models.families.sequential import SequenceConfig
from models.nn import states
from models.sequence import SequenceModel
from models.splits import no_features

SETTLED = {"dropout": 0.0, "negatives": 1, "positions": 1, "epochs": 1.0, "ahead": 1}


def transformer(items: int, seed: int = 0, spread: float = 0.3, **values: Any) -> SequenceModel:
    """Return a SASRec whose weights, norms and lags included, are drawn."""
    config = sasrec.SasRecConfig(**{"length": 12, "repeats": False, "scale": 0.0, **SETTLED, **values})
    weights = drawn(config, sasrec.encoder, items, seed, spread)
    return SequenceModel(config, weights, [], sasrec.encoder, sasrec.single)


def recurrent(items: int, seed: int = 0, **values: Any) -> SequenceModel:
    """Return a GRU4Rec, which is read by torch alone."""
    config = gru4rec.Gru4RecConfig(**{"length": 12, "repeats": False, "scale": 0.0, **SETTLED, **values})
    return SequenceModel(config, drawn(config, gru4rec.encoder, items, seed, 0.3), [], gru4rec.encoder)


def drawn(
    config: SequenceConfig, encoder: Any, items: int, seed: int, spread: float
) -> dict[str, np.ndarray]:
    """Draw a weight of every name; vectors of items are of very unequal length."""
    random = torch.Generator().manual_seed(seed)
    network = states.network(config, encoder)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0.0, spread, generator=random)
    length_I1 = torch.exp(torch.randn(items, 1, generator=random))
    learned = {
        **network.state_dict(),
        "embedding": torch.randn(items, config.width, generator=random) * length_I1,
        "bias": torch.randn(items, generator=random),
    }
    return {name: value.numpy() for name, value in learned.items()}


def asked(items: int, *histories: np.ndarray) -> Query:
    """Return the question about people with these histories, each an item after the other."""
    count_P = [len(item_L) for item_L in histories]
    history = Interactions(
        person_N=np.repeat(np.arange(len(histories), dtype=np.int32), count_P),
        item_N=np.concatenate(histories).astype(np.int32),
        time_N=np.concatenate([np.arange(count) for count in count_P]),
        weight_N=np.ones(sum(count_P), np.float32),
        people=len(histories),
        items=items,
    )
    return Query(history=history, as_of_us=1000, features=no_features(len(histories), items))

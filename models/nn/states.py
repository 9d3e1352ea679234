"""Networks that read sequences, and the states that they come to, many people at a time.

Any encoder will do: a module [B, L, D] -> [B, L, D] whose positions do not see what comes after them. What is made of a state is
in models/sequence.py. Shapes: B sequences, R rows with a history, L positions, I items, D width, N interactions.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.data import Interactions
from models.families.sequential import SequenceConfig
from models.nn.dropout import ByteDropout
from models.nn.repeat import Repeat, same
from models.nn.threads import one_thread


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


def network(config: SequenceConfig, encoder: Callable[[Any], nn.Module]) -> Network:
    """Make a network; torch draws first weights from its global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        return Network(config, encoder(config))


def restored(
    config: SequenceConfig, encoder: Callable[[Any], nn.Module], weights: Mapping[str, np.ndarray]
) -> Network:
    """Make the network of these weights; RuntimeError when they are not its own."""
    made = network(config, encoder)
    made.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return made.eval()


@torch.inference_mode()
def encode(network: Network, embedding_ID: np.ndarray, known: Interactions) -> tuple[np.ndarray, np.ndarray]:
    """Return the last states of people with a history, float32 [R, D], and per interaction what repeats add to its item.

    An item that was taken several times has its sum at the first.
    """
    count_R = np.diff(known.indptr)
    inside_RL = np.arange(count_R.max()) < count_R[:, None]
    item_RL = np.full(inside_RL.shape, -1, np.int64)
    item_RL[inside_RL] = known.item_N
    item = torch.from_numpy(item_RL)
    with one_thread():
        state_RLD = network(torch.from_numpy(embedding_ID)[item.clamp(min=0)])
        last_R = torch.from_numpy(count_R - 1)
        state_RD = state_RLD[torch.arange(len(count_R)), last_R]
        if network.repeat is None:
            return state_RD.numpy(), np.zeros(len(known), np.float32)
        same_RLL, first_RL = same(item)
        mass_RL = (network.repeat.lags(item.shape[1])[last_R][:, None, :] @ same_RLL)[:, 0]
        repeat_RL = network.repeat(state_RD, mass_RL) * first_RL
    return state_RD.numpy(), repeat_RL.numpy()[inside_RL]

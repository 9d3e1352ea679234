"""What a causal transformer knows at the end of one sequence, in numpy alone: one person's answer.

The encoder is that of models/nn/encoder.py, which learns and reads many sequences at a time. Of one it wants some dozen small
products, beside which torch's import and the way through it to each product take far longer. Equal but for the order of sums:
a norm's gain and shift go into the matrix behind it, and what a softmax does not feel (the keys' bias) is left out.
Shapes: L positions, N the most of them, D width, X three times D, H heads, E width of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from models import artefact

SMALL = 1e-5  # what torch's norms add to a variance
LINEAR, NORM = ("out", "inner", "outer"), ("attention_norm", "forward_norm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """A block made ready, float32: matrices are multiplied from the right, and know the norm before them."""

    qkv_DX: np.ndarray
    query_D: np.ndarray
    value_D: np.ndarray
    lag_HM: np.ndarray  # from the longest lag to none, then minus infinity for what comes later: M = 2 N - 1
    out_DD: np.ndarray
    out_D: np.ndarray
    inner_DD: np.ndarray
    inner_D: np.ndarray
    outer_DD: np.ndarray
    outer_D: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Transformer:
    """Blocks, and the gain and shift of the last norm."""

    blocks: tuple[Block, ...]
    gain_D: np.ndarray
    shift_D: np.ndarray

    def last(self, x_LD: np.ndarray) -> np.ndarray:
        """Return what is known at the last of 1 to N positions, float32 [D]; the last block reads no other."""
        *before, final = self.blocks
        for block in before:
            x_LD = _every(block, x_LD)
        return _unit(_final(final, x_LD)) * self.gain_D + self.shift_D


def shapes(*, length: int, width: int, blocks: int, heads: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by the name that torch gives it."""
    block = {"lag": (heads, length), "qkv.weight": (3 * width, width), "qkv.bias": (3 * width,)}
    block |= {f"{layer}.weight": (width, width) for layer in LINEAR}
    block |= {f"{layer}.bias": (width,) for layer in LINEAR}
    block |= {f"{norm}.{part}": (width,) for norm in NORM for part in ("weight", "bias")}
    told = {f"blocks.{at}.{name}": shape for at in range(blocks) for name, shape in block.items()}
    return {**told, "norm.weight": (width,), "norm.bias": (width,)}


def read(
    weights: Mapping[str, np.ndarray], *, length: int, width: int, blocks: int, heads: int
) -> Transformer:
    """Make an encoder's weights ready, given by the names that torch gives them. ValueError when they are not of these sizes."""
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    artefact.check_shapes(weights, shapes(length=length, width=width, blocks=blocks, heads=heads))
    return Transformer(
        blocks=tuple(_block(weights, f"blocks.{at}.") for at in range(blocks)),
        gain_D=weights["norm.weight"],
        shift_D=weights["norm.bias"],
    )


def _block(weights: Mapping[str, np.ndarray], prefix: str) -> Block:
    told = {name.removeprefix(prefix): array for name, array in weights.items() if name.startswith(prefix)}
    qkv_DX, qkv_X = _behind(told, "attention_norm", "qkv")
    inner_DD, inner_D = _behind(told, "forward_norm", "inner")
    heads, length = told["lag"].shape
    width = len(qkv_DX)
    shrunk = np.float32((width // heads) ** -0.5)
    qkv_DX[:, :width] *= shrunk
    later_HM = np.full((heads, length - 1), -np.inf, np.float32)
    return Block(
        qkv_DX=qkv_DX,
        query_D=qkv_X[:width] * shrunk,
        value_D=qkv_X[2 * width :],
        lag_HM=np.concatenate([told["lag"][:, ::-1], later_HM], axis=1),
        out_DD=np.ascontiguousarray(told["out.weight"].T),
        out_D=told["out.bias"],
        inner_DD=inner_DD,
        inner_D=inner_D,
        outer_DD=np.ascontiguousarray(told["outer.weight"].T),
        outer_D=told["outer.bias"],
    )


def _behind(told: Mapping[str, np.ndarray], norm: str, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """Return matrix and bias of a layer that stands behind a norm, with the norm's gain and shift in them."""
    weight, bias = told[f"{layer}.weight"], told[f"{layer}.bias"]
    matrix = np.ascontiguousarray((weight * told[f"{norm}.weight"]).T)
    return matrix, bias + weight @ told[f"{norm}.bias"]


def _every(block: Block, x_LD: np.ndarray) -> np.ndarray:
    """Return what a block makes of every position, [L, D]."""
    length, width = x_LD.shape
    heads, most = len(block.lag_HM), (block.lag_HM.shape[1] + 1) // 2
    qkv_LX = _unit(x_LD) @ block.qkv_DX
    qkv_LX[:, :width] += block.query_D
    q_HLE, k_HLE, v_HLE = qkv_LX.reshape(length, 3, heads, -1).transpose(1, 2, 0, 3)
    logit_HLL = q_HLE @ k_HLE.transpose(0, 2, 1)
    # row by row the same lags, each time one further to the right
    head, step = block.lag_HM.strides
    logit_HLL += np.ndarray(logit_HLL.shape, np.float32, block.lag_HM, (most - 1) * step, (head, -step, step))
    seen_HLE = _softmax(logit_HLL) @ v_HLE
    seen_LD = seen_HLE.transpose(1, 0, 2).reshape(length, width)
    seen_LD += block.value_D
    return _passed(block, x_LD, seen_LD)


def _final(block: Block, x_LD: np.ndarray) -> np.ndarray:
    """Return what a block makes of the last position, [D]: keys and values of single positions are never computed."""
    length, width = x_LD.shape
    heads, most = len(block.lag_HM), (block.lag_HM.shape[1] + 1) // 2
    unit_LD = _unit(x_LD)
    q_H1E = (unit_LD[-1] @ block.qkv_DX[:, :width] + block.query_D).reshape(heads, 1, -1)
    k_HED, v_HED = block.qkv_DX[:, width:].reshape(width, 2, heads, -1).transpose(1, 2, 3, 0)
    logit_HL = (q_H1E @ k_HED)[:, 0] @ unit_LD.T
    logit_HL += block.lag_HM[:, most - length : most]
    mean_H1D = (_softmax(logit_HL) @ unit_LD)[:, None]
    seen_D = (mean_H1D @ v_HED.transpose(0, 2, 1)).reshape(width) + block.value_D
    return _passed(block, x_LD[-1], seen_D)


def _passed(block: Block, x: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the input with what was seen added to it, and then what the feed-forward layer makes of both."""
    x = x + block.out_D
    x += seen @ block.out_DD
    inner = _unit(x) @ block.inner_DD
    inner += block.inner_D
    x += np.maximum(inner, 0, out=inner) @ block.outer_DD
    x += block.outer_D
    return x


def _unit(x: np.ndarray) -> np.ndarray:
    """Return rows less their mean, over their standard deviation: a norm without gain and shift."""
    width = x.shape[-1]
    x = x - x.sum(axis=-1, keepdims=True) / width
    x /= np.sqrt(np.vecdot(x, x) / width + SMALL)[..., None]
    return x


def _softmax(logit: np.ndarray) -> np.ndarray:
    """Return the shares of the last axis; written over what was given."""
    logit -= logit.max(axis=-1, keepdims=True)
    np.exp(logit, out=logit)
    logit /= logit.sum(axis=-1, keepdims=True)
    return logit

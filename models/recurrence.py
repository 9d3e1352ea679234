"""What recurrent cells know at the end of one sequence, in numpy alone: one person's answer.

The encoders are those of models/nn/recurrent.py, which learn and read many sequences at a time. Equal but for the order of sums;
gates are told by the hyperbolic tangent of half of what goes into them, which no number makes overflow.
Shapes: L positions, D width, M memory, G numbers of all gates: three times M of GRU, four times of LSTM.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from models import artefact
from models.transformer import unit

PARTS = {"gru": 3, "lstm": 4}


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Cells made ready, float32: matrices are multiplied from the right; `new_M` is GRU's bias within its reset."""

    in_DG: np.ndarray
    again_MG: np.ndarray
    bias_G: np.ndarray
    new_M: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Recurrent:
    """Layers of cells, the way back to the width of items, and the gain and shift of the norm."""

    cells: Callable[[Layer, np.ndarray], np.ndarray]
    layers: tuple[Layer, ...]
    outer_MD: np.ndarray
    outer_D: np.ndarray
    gain_D: np.ndarray
    shift_D: np.ndarray

    def last(self, x_LD: np.ndarray) -> np.ndarray:
        """Return what is known at the last position of a sequence, float32 [D]."""
        known_LM = x_LD
        for layer in self.layers:
            known_LM = self.cells(layer, known_LM)
        state_D = x_LD[-1] + (known_LM[-1] @ self.outer_MD + self.outer_D)
        return unit(state_D) * self.gain_D + self.shift_D


def shapes(*, cells: str, width: int, memory: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight by the name that torch gives it."""
    gates, told = PARTS[cells] * memory, dict[str, tuple[int, ...]]()
    for layer in range(layers):
        told |= {
            f"cells.weight_ih_l{layer}": (gates, memory if layer else width),
            f"cells.weight_hh_l{layer}": (gates, memory),
            f"cells.bias_ih_l{layer}": (gates,),
            f"cells.bias_hh_l{layer}": (gates,),
        }
    outer = {"outer.weight": (width, memory), "outer.bias": (width,)}
    return {**told, **outer, "norm.weight": (width,), "norm.bias": (width,)}


def read(weights: Mapping[str, np.ndarray], *, cells: str, width: int, memory: int, layers: int) -> Recurrent:
    """Make an encoder's weights ready, given by the names that torch gives them. ValueError when they are not of these sizes."""
    artefact.check_shapes(weights, shapes(cells=cells, width=width, memory=memory, layers=layers))
    return Recurrent(
        cells={"gru": _gru, "lstm": _lstm}[cells],
        layers=tuple(_layer(weights, cells, layer) for layer in range(layers)),
        outer_MD=np.ascontiguousarray(weights["outer.weight"].T),
        outer_D=weights["outer.bias"],
        gain_D=weights["norm.weight"],
        shift_D=weights["norm.bias"],
    )


def _layer(weights: Mapping[str, np.ndarray], cells: str, layer: int) -> Layer:
    in_GD, again_GM, in_G, again_G = (
        weights[f"cells.{name}_l{layer}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    bias_G, memory = in_G + again_G, again_GM.shape[1]
    if cells == "gru":
        bias_G[2 * memory :] = in_G[2 * memory :]
    return Layer(
        in_DG=np.ascontiguousarray(in_GD.T),
        again_MG=np.ascontiguousarray(again_GM.T),
        bias_G=bias_G,
        new_M=again_G[2 * memory : 3 * memory],
    )


def _gru(layer: Layer, x_LD: np.ndarray) -> np.ndarray:
    """Return what gated recurrent units know at every position, [L, M] (Cho et al., EMNLP 2014)."""
    memory = len(layer.again_MG)
    known_M, known_LM = np.zeros(memory, np.float32), np.empty((len(x_LD), memory), np.float32)
    for at, in_G in enumerate(x_LD @ layer.in_DG + layer.bias_G):
        again_G = known_M @ layer.again_MG
        reset_M, keep_M = _open(in_G[: 2 * memory] + again_G[: 2 * memory]).reshape(2, memory)
        new_M = np.tanh(in_G[2 * memory :] + reset_M * (again_G[2 * memory :] + layer.new_M))
        known_M = new_M + keep_M * (known_M - new_M)
        known_LM[at] = known_M
    return known_LM


def _lstm(layer: Layer, x_LD: np.ndarray) -> np.ndarray:
    """Return what cells with a long and a short memory know at every position, [L, M] (Hochreiter & Schmidhuber, 1997)."""
    memory = len(layer.again_MG)
    known_M, long_M = np.zeros(memory, np.float32), np.zeros(memory, np.float32)
    known_LM = np.empty((len(x_LD), memory), np.float32)
    for at, in_G in enumerate(x_LD @ layer.in_DG + layer.bias_G):
        gate_G = in_G + known_M @ layer.again_MG
        new_M = np.tanh(gate_G[2 * memory : 3 * memory])
        in_M, forget_M, _, out_M = _open(gate_G).reshape(4, memory)
        long_M = forget_M * long_M + in_M * new_M
        known_M = out_M * np.tanh(long_M)
        known_LM[at] = known_M
    return known_LM


def _open(gate: np.ndarray) -> np.ndarray:
    """Return how far gates are open, 0 to 1; written over what was given."""
    gate *= 0.5
    np.tanh(gate, out=gate)
    gate *= 0.5
    gate += 0.5
    return gate

"""Recurrent cells read by arrays: what the network says by torch, whatever its sizes."""

from pathlib import Path

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from bentos.golden import ABSOLUTE
from counterfoil.errors import IntegrityError
from models import recurrence
from models.families import FAMILIES, config_from
from models.nn.recurrent import Recurrent
from models.sequence import FILE, SequenceModel
from tests.shop_data import shop

NEAR = 1e-4  # of the largest number of a state: a tenth of what golden rows may be off by
SMALL = {"length": 12, "width": 8, "memory": 5, "layers": 2, "epochs": 1.0, "negatives": 8, "positions": 64}


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, int]:
    """Draw an encoder's sizes."""
    return {
        "width": draw(st.integers(2, 64)),
        "memory": draw(st.integers(1, 70)),
        "layers": draw(st.integers(1, 3)),
    }


@pytest.mark.parametrize("cells", ["gru", "lstm"])
@settings(max_examples=40, deadline=None)
@given(
    size=sizes(),
    spread=st.sampled_from([0.1, 0.5, 1.0]),
    loud=st.sampled_from([0.01, 1.0, 30.0]),
    length=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_the_last_state_is_that_of_the_network(
    cells: str, size: dict[str, int], spread: float, loud: float, length: int, seed: int
) -> None:
    """Weights are not so large that cells are chaotic: there torch's own state in single precision is any number."""
    encoder, random = Recurrent(cells, **size), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(0.0, spread * size["memory"] ** -0.5, generator=random)
    weights = {name: one.numpy().copy() for name, one in encoder.state_dict().items()}
    assert recurrence.shapes(cells=cells, **size) == {name: one.shape for name, one in weights.items()}
    x_LD = np.random.default_rng(seed).normal(0, loud, (length, size["width"])).astype(np.float32)
    found_D = recurrence.read(weights, cells=cells, **size).last(x_LD)
    with torch.inference_mode():
        right_D = encoder.double()(torch.from_numpy(x_LD.astype(np.float64))[None])[0, -1].numpy()
    assert found_D.dtype == np.float32
    np.testing.assert_allclose(found_D, right_D, rtol=0, atol=NEAR * float(np.abs(right_D).max()))
    for name, one in encoder.float().state_dict().items():
        np.testing.assert_array_equal(weights[name], one.numpy())


@pytest.mark.parametrize("name", ["gru4rec", "lstm"])
def test_one_person_is_answered_as_by_the_network_when_cells_have_learned(name: str) -> None:
    model, query = (
        FAMILIES[name].fit(config_from(name, {**SMALL, "epochs": 4.0}), shop().training, 0),
        shop().query,
    )
    assert isinstance(model, SequenceModel)
    together = model.recommend(query, 10)
    for row, single in enumerate(query.parts(1)):
        alone = model.recommend(single, 10)
        assert alone.item_PK[0].tolist() == together.item_PK[row].tolist()
        np.testing.assert_allclose(alone.score_PK[0], together.score_PK[row], rtol=1e-4, atol=ABSOLUTE)


@pytest.mark.filterwarnings("error")
def test_gates_that_are_shut_do_not_overflow() -> None:
    size = {"width": 4, "memory": 3, "layers": 1}
    for cells in ("gru", "lstm"):
        weights = {
            name: np.full(shape, -1e4, np.float32)
            for name, shape in recurrence.shapes(cells=cells, **size).items()
        }
        assert np.isfinite(
            recurrence.read(weights, cells=cells, **size).last(np.ones((9, 4), np.float32))
        ).all()


@pytest.mark.parametrize("name", ["gru4rec", "lstm"])
@pytest.mark.parametrize(
    ("weight", "shape"),
    [("cells.weight_hh_l1", (15, 4)), ("cells.bias_ih_l0", None), ("outer.weight", (5, 8)), ("odd", (1,))],
)
def test_weights_that_are_not_those_of_the_config_are_refused(
    tmp_path: Path, name: str, weight: str, shape: tuple[int, ...] | None
) -> None:
    FAMILIES[name].fit(config_from(name, SMALL), shop().training, 0).save(tmp_path)
    weights = load_file(tmp_path / FILE)
    if shape is None:
        del weights[f"encoder.{weight}"]
    else:
        weights[f"encoder.{weight}"] = np.zeros(shape, np.float32)
    save_file(weights, tmp_path / FILE)
    with pytest.raises(IntegrityError, match=rf"{FILE} cannot be read \({weight}"):
        FAMILIES[name].load(tmp_path)


def test_cells_of_another_kind_are_refused(tmp_path: Path) -> None:
    FAMILIES["gru4rec"].fit(config_from("gru4rec", SMALL), shop().training, 0).save(tmp_path)
    with pytest.raises(IntegrityError, match=r"cells\.bias_hh_l0"):
        FAMILIES["lstm"].load(tmp_path)
    told = orjson.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_bytes(orjson.dumps({**told, "layers": 1}))
    with pytest.raises(IntegrityError, match=r"cells\.bias_hh_l1"):
        FAMILIES["gru4rec"].load(tmp_path)

"""One history read by arrays: what the network says by torch, whatever its sizes; and no torch where one person is answered."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from bentos.golden import ABSOLUTE, RELATIVE
from counterfoil.errors import IntegrityError
from models import transformer
from models.families import FAMILIES, config_from
from models.nn.encoder import Encoder
from models.sequence import FILE
from tests import drawn_sequences
from tests.drawn_sequences import asked
from tests.shop_data import shop

ITEMS = 50
NEAR = 1e-4  # of the largest number of a state: a tenth of what golden rows may be off by


@st.composite
def sizes(draw: st.DrawFn) -> dict[str, int]:
    """Draw an encoder's sizes."""
    heads = draw(st.integers(1, 4))
    return {
        "length": draw(st.integers(1, 60)),
        "width": heads * draw(st.integers(1 if heads > 1 else 2, 16)),
        "blocks": draw(st.integers(1, 4)),
        "heads": heads,
    }


# the encoder


@settings(max_examples=60, deadline=None)
@given(
    size=sizes(),
    spread=st.sampled_from([0.02, 0.3, 1.0]),
    loud=st.sampled_from([0.01, 1.0, 30.0]),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_the_last_state_is_that_of_the_network(
    size: dict[str, int], spread: float, loud: float, share: float, seed: int
) -> None:
    encoder, random = Encoder(**size), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.normal_(0.0, spread, generator=random)
    read = transformer.read({name: one.numpy() for name, one in encoder.state_dict().items()}, **size)
    length = max(1, round(share * size["length"]))
    x_LD = np.random.default_rng(seed).normal(0, loud, (length, size["width"])).astype(np.float32)
    given_LD = x_LD.copy()
    found_D = read.last(x_LD)
    with torch.inference_mode():
        right_D = encoder.double()(torch.from_numpy(x_LD.astype(np.float64))[None])[0, -1].numpy()
    assert found_D.dtype == np.float32
    np.testing.assert_allclose(found_D, right_D, rtol=0, atol=NEAR * float(np.abs(right_D).max()))
    np.testing.assert_array_equal(x_LD, given_LD)


@given(size=sizes())
@settings(max_examples=20, deadline=None)
def test_the_shapes_are_those_of_the_network(size: dict[str, int]) -> None:
    told = {name: tuple(value.shape) for name, value in Encoder(**size).state_dict().items()}
    assert transformer.shapes(**size) == told


def test_weights_are_left_as_they_are() -> None:
    size = {"length": 5, "width": 8, "blocks": 2, "heads": 2}
    weights = {name: value.numpy() for name, value in Encoder(**size).state_dict().items()}
    before = {name: value.copy() for name, value in weights.items()}
    transformer.read(weights, **size).last(np.ones((3, 8), np.float32))
    for name, value in weights.items():
        np.testing.assert_array_equal(value, before[name])


# answers to one person


@settings(max_examples=60, deadline=None)
@given(
    size=sizes(),
    repeats=st.booleans(),
    scale=st.sampled_from([0.0, 16.0]),
    distinct=st.sampled_from([1, 4, ITEMS]),
    taken=st.integers(0, 130),
    seed=st.integers(0, 99),
)
def test_one_person_is_answered_as_by_the_network(
    size: dict[str, int], repeats: bool, scale: float, distinct: int, taken: int, seed: int
) -> None:
    """With items that came after the fit, some of them taken; with items that may not be answered."""
    model = drawn_sequences.transformer(ITEMS, seed, repeats=repeats, scale=scale, **size)
    random = np.random.default_rng(seed)
    query = asked(ITEMS + 3, random.integers(0, min(distinct, ITEMS) + 3 * (distinct == ITEMS), taken))
    some = replace(query, allowed_I=random.random(ITEMS + 3) < 0.5, exclude=(random.integers(ITEMS, size=9),))
    for question in (query, some):
        found, right = model.recommend(question, ITEMS + 3), model.exactly(question, ITEMS + 3)
        assert sorted(found.item_PK[0]) == sorted(right.item_PK[0])
        found_by = dict(zip(found.item_PK[0], found.score_PK[0], strict=True))
        again_K = np.array([found_by[item] for item in right.item_PK[0]])
        real_K = right.item_PK[0] >= 0
        np.testing.assert_allclose(
            again_K[real_K],
            right.score_PK[0][real_K],
            rtol=RELATIVE / 10,
            atol=ABSOLUTE + NEAR * float(np.abs(right.score_PK[0][real_K]).max(initial=0.0)),
        )
        assert (np.diff(found.score_PK[0][real_K]) <= 0).all()


@pytest.mark.parametrize("made", [drawn_sequences.transformer, drawn_sequences.recurrent])
@pytest.mark.parametrize("repeats", [False, True])
def test_people_are_answered_alike_alone_and_together(made: Any, repeats: bool) -> None:
    model, random = made(ITEMS, repeats=repeats), np.random.default_rng(0)
    histories = [random.integers(0, 9, taken) for taken in (0, 1, 2, 11, 12, 13, 40)]
    together = model.recommend(asked(ITEMS, *histories), 10)
    for row, history_L in enumerate(histories):
        alone = model.recommend(asked(ITEMS, history_L), 10)
        assert alone.item_PK[0].tolist() == together.item_PK[row].tolist()
        np.testing.assert_allclose(alone.score_PK[0], together.score_PK[row], rtol=1e-4, atol=1e-4)


# on disk


def test_the_file_is_that_which_torch_writes_and_one_of_torch_is_read(tmp_path: Path) -> None:
    model = FAMILIES["sasrec"].fit(SMALL, shop().training, 0)
    model.save(tmp_path)
    written = (tmp_path / FILE).read_bytes()
    weights = {name: torch.from_numpy(value) for name, value in load_file(tmp_path / FILE).items()}
    assert {"embedding", "bias", "repeat.gain.weight", "encoder.blocks.0.qkv.weight"} <= weights.keys()
    safetensors.torch.save_file(weights, tmp_path / FILE)
    assert (tmp_path / FILE).read_bytes() == written
    query = next(shop().query.parts(1))
    again = FAMILIES["sasrec"].load(tmp_path).recommend(query, 10)
    np.testing.assert_array_equal(again.score_PK, model.recommend(query, 10).score_PK)


SMALL = config_from(
    "sasrec",
    {"length": 12, "width": 8, "heads": 2, "blocks": 2, "epochs": 1.0, "negatives": 8, "positions": 64},
)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("encoder.blocks.1.lag", (2, 11)),
        ("encoder.blocks.0.out.weight", (8, 7)),
        ("encoder.norm.bias", None),
        ("encoder.blocks.2.lag", (2, 12)),
        ("embedding", (41, 7)),
        ("bias", (40,)),
        ("repeat.gain.bias", None),
        ("odd", (1,)),
    ],
)
def test_weights_that_are_not_those_of_the_config_are_refused(
    tmp_path: Path, name: str, shape: tuple[int, ...] | None
) -> None:
    FAMILIES["sasrec"].fit(SMALL, shop().training, 0).save(tmp_path)
    weights = load_file(tmp_path / FILE)
    if shape is None:
        del weights[name]
    else:
        weights[name] = np.zeros(shape, np.float32)
    save_file(weights, tmp_path / FILE)
    with pytest.raises(IntegrityError, match=rf"{FILE} cannot be read \(.*{name.rpartition('encoder.')[2]}"):
        FAMILIES["sasrec"].load(tmp_path)


@pytest.mark.parametrize(
    "changed", [{"heads": 3}, {"heads": 4}, {"blocks": 1}, {"width": 16}, {"repeats": False}]
)
def test_a_config_that_is_not_that_of_the_weights_is_refused(tmp_path: Path, changed: dict[str, int]) -> None:
    FAMILIES["sasrec"].fit(SMALL, shop().training, 0).save(tmp_path)
    config = orjson.loads((tmp_path / "config.json").read_bytes())
    (tmp_path / "config.json").write_bytes(orjson.dumps({**config, **changed}))
    with pytest.raises(IntegrityError, match=FILE):
        FAMILIES["sasrec"].load(tmp_path)


def test_weights_of_another_precision_are_refused(tmp_path: Path) -> None:
    FAMILIES["sasrec"].fit(SMALL, shop().training, 0).save(tmp_path)
    weights = load_file(tmp_path / FILE)
    save_file({**weights, "bias": weights["bias"].astype(np.float64)}, tmp_path / FILE)
    with pytest.raises(IntegrityError, match="bias"):
        FAMILIES["sasrec"].load(tmp_path)


# processes without torch

ANSWER = """
import sys
from pathlib import Path
from models.families import family
from tests.shop_data import shop

small = shop(people=12, items=13, visit_every_days=10)
query = next(small.query.parts(1))
for name in sys.argv[2:]:
    model = family(name).load(Path(sys.argv[1]) / name)
    assert (model.recommend(query, 10).item_PK >= 0).any(), name
    assert "torch" not in sys.modules, name
model = family("sasrec").load(Path(sys.argv[1]) / "sasrec")
model.recommend(small.query, 10)
assert "torch" in sys.modules  # many are asked by the network
"""


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Fit SASRec alone and in every assembly that can hold it, and save them."""
    folder = tmp_path_factory.mktemp("assemblies")
    training = shop(people=12, items=13, visit_every_days=10).training  # members are fitted by their defaults
    configs: dict[str, dict[str, Any]] = {
        "sasrec": {},
        "twostage": {"retrievers": ["sasrec", "popularity"], "depths": [6, 6], "ranker": {"trees": 3}},
        "mlp": {"retrievers": ["sasrec", "popularity"], "depths": [6, 6], "ranker": {"epochs": 1}},
        "fusion": {"members": ["sasrec", "popularity"], "weights": [0.5, 0.5]},
        "cascade": {"inner": "sasrec", "balance": 0.1},
        "exposure": {"members": ["sasrec", "popularity"], "depth": 20, "keep": 0.0, "give": 0.5},
    }
    for name, values in configs.items():
        (folder / name).mkdir()
        FAMILIES[name].fit(config_from(name, values), training, 0).save(folder / name)
    return folder, configs


def test_no_assembly_with_a_transformer_brings_torch_to_answer_one_person(
    assemblies: tuple[Path, dict[str, Any]],
) -> None:
    folder, configs = assemblies
    subprocess.run([sys.executable, "-c", ANSWER, folder, *configs], check=True, timeout=120)

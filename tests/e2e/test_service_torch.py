"""A bento whose retriever is a transformer, loaded and asked by the code that lies in it: no torch comes into such a process."""

import subprocess
import sys
from pathlib import Path

from bentos.package import package
from models.dataset import read
from models.families import FAMILIES, config_from, dense
from models.families.cascade import Cascade, CascadeConfig
from tests import bento_shop

SERVE = """
import sys
sys.path.insert(0, sys.argv[1] + "/src")
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from bentos import replay, startup, worker
from bentos.bundle import open_bundle
from bentos.recommend.asked import received
from bentos.recommend.flow import Answers, Stages
from bentos.recommend.person import Person
from bentos.recommend.request import parse
from models import coarse

assert Path(startup.__file__).is_relative_to(sys.argv[1])
opened = open_bundle(Path(sys.argv[1]))
startup.prepare(opened)
answers = Answers(startup.parse(opened))
startup.settle()
assert coarse.multiply.ready
now = datetime(2026, 3, 1, tzinfo=UTC)
day_us = 86_400_000_000
ids = ("bread", "coffee", "bread", "tea")
taken = Person(
    item_ids=ids,
    time_us_N=int(now.timestamp()) * 1_000_000 - np.arange(4, 0, -1) * day_us,
    quantity_N=np.ones(4, np.float32),
)
for person in (taken, Person()):
    body = b'{"person": "p01", "n": 5, "context": {"time": "2026-03-01T00:00:00Z"}}'
    answer = answers.answer(received(parse(body, "recommend"), now, "key", "recommend"), person, Stages())
    assert len(answer.items) == 5
    if person is taken:
        assert any("sasrec" in item.sources for item in answer.items), answer.items
assert "torch" not in sys.modules
"""


def test_a_process_that_serves_a_transformer_brings_no_torch(tmp_path: Path) -> None:
    dataset = bento_shop.write_dataset(tmp_path / "dataset")
    training = read(dataset).training()
    inner = FAMILIES["sasrec"].fit(config_from("sasrec", {"epochs": 1.0, "blocks": 2}), training, 0)
    takers_I = dense.buyers(training.interactions)
    (tmp_path / "artefact").mkdir()
    Cascade(CascadeConfig(inner="sasrec", balance=0.1), inner, takers_I, ()).save(tmp_path / "artefact")
    made = package(
        use_case="recommendation",
        candidate=bento_shop.candidate("cascade"),
        artefact=tmp_path / "artefact",
        dataset=dataset,
        feature_service="recommendation_v1",
        settings=bento_shop.settings_of(tmp_path / "home"),
    )
    subprocess.run(
        [sys.executable, "-P", "-B", "-c", SERVE, made.path], check=True, timeout=120, cwd=tmp_path
    )

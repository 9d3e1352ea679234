"""Adam as a function: step for step what torch's own class does, without what that brings into the process."""

import subprocess
import sys

import pytest
import torch

from models.nn.adam import Adam

LEARN = """
import sys
from models.families import FAMILIES, config_from
from tests.shop_data import shop
from tests.small_configs import SMALL
for name in {names}:
    FAMILIES[name].fit(config_from(name, SMALL[name]), shop(people=40, days=56).training, 0)
print(*sorted({{"sklearn", "torch._dynamo", "sympy"}} & set(sys.modules)))
"""


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_are_those_of_torchs_own(decay: float) -> None:
    torch.manual_seed(0)
    ours = [torch.randn(4, 3, requires_grad=True), torch.randn(3, requires_grad=True)]
    theirs = [one.detach().clone().requires_grad_() for one in ours]
    mine = Adam(ours, 0.1, decay=decay)
    other = torch.optim.AdamW(theirs, lr=0.1, betas=(0.9, 0.98), weight_decay=decay, fused=True)
    for step in range(1, 6):
        for parameters, optimiser in ((ours, mine), (theirs, other)):
            optimiser.zero_grad()
            (torch.tanh(parameters[0]) @ parameters[1]).square().sum().backward()
        mine.step(1 / step)
        other.param_groups[0]["lr"] = 0.1 / step
        other.step()
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one, two)


def test_what_has_no_gradient_stays_and_its_steps_are_not_counted() -> None:
    used, left = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimiser = Adam([used, left], 0.1)
    used.sum().backward()
    optimiser.step()
    assert torch.equal(left, torch.ones(2))
    assert (used < 1).all()
    optimiser.zero_grad()
    left.sum().backward()
    optimiser.step()
    torch.testing.assert_close(left, used)  # both have taken their first step


def test_learning_brings_neither_a_compiler_nor_scikit_learn_into_the_process() -> None:
    names = ("sasrec", "lightgcn", "gat")
    done = subprocess.run(
        [sys.executable, "-c", LEARN.format(names=names)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []

"""The mean of the weights: its formula, its benefit, and its independence of training."""

from functools import partial

import pytest
import torch
from programs import linear_problem

from pyro_vae import Schedule, estimate_elbo, fit
from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.likelihoods import GaussianWithIsotropicScale
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.training import WeightAverage
from pyro_vae.training.weight_average import EVERY


@pytest.mark.slow
@pytest.mark.parametrize(("share", "power"), [(1.0, 0), (0.5, 1), (0.25, 3)])
def test_weights_count_by_a_power_of_their_number(share, power):
    """In proportion to (k - 1) ... (k - power), the product that the recursion comes to; all of them at share 1."""
    w = torch.zeros(2, dtype=torch.float64)
    average = WeightAverage([w], share)
    values = torch.rand(40, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for value in values:
        for _ in range(EVERY):
            w.copy_(value)
            average.update()
    k = torch.arange(1, 41, dtype=torch.float64)
    counts = torch.stack([k * 0 + 1, *((k - n).clamp_min(0) for n in range(1, power + 1))]).prod(0)
    expected = (counts.unsqueeze(1) * values).sum(0) / counts.sum()
    with average.in_place():
        torch.testing.assert_close(w, expected, rtol=1e-12, atol=0)
    assert torch.equal(w, values[-1])


def test_without_a_share_or_before_the_first_mean_the_weights_stay():
    w = torch.ones(2)
    none, young = WeightAverage([w]), WeightAverage([w], 0.5)
    for average in (none, young):
        average.update()
        w.mul_(2)
        with average.in_place():
            assert torch.equal(w, torch.full((2,), 2.0 if average is none else 4.0))


def test_the_weights_are_restored_if_an_operation_on_the_mean_fails():
    w = torch.ones(2)
    average = WeightAverage([w], 0.5)
    for step in range(2 * EVERY):
        w.fill_(step)
        average.update()
    with pytest.raises(RuntimeError), average.in_place():
        raise RuntimeError
    assert torch.equal(w, torch.full((2,), 2.0 * EVERY - 1))


@pytest.mark.slow
def test_steps_at_one_rate_end_nearer_to_the_exact_optimum():
    """PPCA by SVI under its exact posterior, whose optimum is known: averaged, most of the noise of steps is gone."""
    _, x = linear_problem(num_rows=400)
    x = x.float()
    best = PPCA(2).fit(x.numpy()).score(x.numpy())
    settings = {
        "optimizer": partial(torch.optim.Adam, lr=0.03),
        "schedule": Schedule("constant"),
        "batch_size": 20,
        "epochs": 40,
        "seed": 0,
        "device": "cpu",
        "compile": "off",
        "progress": False,
    }
    lacking, histories = [], []
    for average in (0.0, 0.2):
        torch.manual_seed(0)
        model = LinearGaussianModel(2, GaussianWithIsotropicScale(x.mean(0), x.std(0), 1e-3))
        guide = ExactLinearGuide(model)
        histories.append(fit(model, guide, x, average=average, **settings).history)
        lacking.append(best - estimate_elbo(model, guide, [(x,)]).mean)
    assert [line["train"] for line in histories[0]] == [line["train"] for line in histories[1]]
    assert 0 <= lacking[1] < 0.25 * lacking[0]


class CountsSteps(LinearGaussianModel):
    """Its buffer is the number of steps so far, and another one can take no mean."""

    def __init__(self, *args):
        super().__init__(*args)
        self.register_buffer("steps", torch.zeros(1))
        self.register_buffer("whole", torch.zeros(1, dtype=torch.int64))
        self.register_buffer("boundless", torch.tensor([-torch.inf]))

    def forward(self, x=None):
        if self.training:
            self.steps += 1
            self.whole += 1
        return super().forward(x)


def test_buffers_that_steps_change_are_averaged_with_the_weights():
    """As the statistics of batch norm must be, which belong to the weights; counts and infinities stay."""
    _, x = linear_problem(num_rows=50)
    x = x.float()
    model = CountsSteps(2, GaussianWithIsotropicScale(x.mean(0), x.std(0), 1e-3))
    settings = {"batch_size": 10, "epochs": 10, "device": "cpu", "compile": "off", "progress": False}
    fit(model, ExactLinearGuide(model), x, average=1.0, **settings)
    assert model.steps.item() == pytest.approx(torch.arange(EVERY, 51.0, EVERY).mean().item())
    assert model.whole.item() == 50
    assert model.boundless.item() == -torch.inf


def test_a_share_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"average in \[0, 1\], a share of the steps so far; got 1.5"):
        WeightAverage([torch.zeros(1)], 1.5)

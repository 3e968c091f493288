"""Invertible maps are inverted exactly, with ordinary and with extreme weights."""

import copy

import pytest
import torch
from programs import rows
from pyro.distributions import transforms

from pyro_vae.distributions.invertible_maps import inverse_autoregressive, spline_autoregressive
from pyro_vae.guides import FlowGuide
from pyro_vae.networks import mlp_encoder

MAPS = {"iaf": inverse_autoregressive, "spline": spline_autoregressive}
X = rows(count=100)
CONTEXT_DIM = 8


def guide(kind, factor=0.0):
    """Return a flow guide whose maps have weights `factor` times as large as a trained one's."""
    torch.manual_seed(0)
    encoder = mlp_encoder(X.mean(0), X.std(0), (8,), 4 + CONTEXT_DIM, "tanh")
    flow = FlowGuide(encoder, 2, MAPS[kind](2, CONTEXT_DIM, (24,)))
    with torch.no_grad():
        for one in flow.maps:
            last = one.nn.layers[-1]
            last.weight.mul_(1 + 100 * factor)
            last.bias.add_(factor * torch.randn_like(last.bias))
    return flow


def scores(flow, x):
    """Return z, log q(z) as own samples are scored, and as points from elsewhere are."""
    posterior = flow.posterior(x)
    z = posterior.rsample((10,))
    elsewhere = z.detach().clone().requires_grad_()
    own, foreign = posterior.log_prob(z), flow.posterior(x).log_prob(elsewhere)
    for value, at in ((own.sum() + z.sum(), []), (foreign.sum(), [elsewhere])):
        for gradient in torch.autograd.grad(value, [*at, *flow.parameters()], allow_unused=True):
            assert gradient is None or gradient.isfinite().all()
    return z.detach(), own.detach(), foreign.detach()


@pytest.mark.parametrize("kind", MAPS)
# In single precision log q changes by so much, in nats, within the rounding of z. Before its bins were bounded a
# spline was wrong by 7, 82 and 90 nats at the last three, or NaN.
@pytest.mark.parametrize(("factor", "tolerance"), [(0, 1e-5), (1, 1e-3), (3, 0.3), (10, 2), (100, 5)])
def test_other_points_are_scored_like_own_samples(kind, factor, tolerance):
    flow = guide(kind, factor)
    _, own, foreign = scores(flow, X)
    assert (own - foreign).abs().max() < tolerance
    _, own, foreign = scores(flow.double(), X.double())
    assert (own - foreign).abs().max() < 1e-4 * min(tolerance, 1)


@pytest.mark.parametrize("factor", [0, 1, 10, 100, 1e6])
def test_a_spline_and_its_inverse_cancel(factor):
    one = guide("spline", factor).double().maps[0]
    context = torch.randn(500, CONTEXT_DIM, dtype=torch.float64)
    e = torch.linspace(-5, 5, 500, dtype=torch.float64).unsqueeze(-1).expand(500, 2)
    there = one.condition(context)
    z = there(e)
    back = one.condition(context).inv(z.clone())
    torch.testing.assert_close(back, e, rtol=0, atol=1e-9)
    # Each dimension rises, so that z has one e only.
    same = one.condition(context[:1])
    rising = same(torch.stack([e[:, 0], torch.zeros(500).double()], -1))[:, 0]
    assert (rising.diff() > 0).all()
    outside = e[:, 0].abs() > 4
    torch.testing.assert_close(z[outside, 0], e[outside, 0], rtol=0, atol=0)


def test_a_spline_within_its_bounds_is_pyros():
    flow = guide("spline", 0.01)
    pyros = copy.deepcopy(flow)
    for one in pyros.maps:
        one.__class__ = transforms.ConditionalSplineAutoregressive
    expected, got = (scores(torch.manual_seed(1) and of, X) for of in (pyros, flow))
    for a, b in zip(expected, got, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)

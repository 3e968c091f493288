"""Models of two variables of four states, and their ELBO by a sum over all sixteen states."""

from __future__ import annotations

import itertools
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae import GenerativeModel
from pyro_vae.distributions.discrete_variables import Bernoullis, Categoricals
from pyro_vae.guides import DiscreteGuide
from pyro_vae.likelihoods.normal import GaussianWithSharedScale
from pyro_vae.priors import LearnedStates

DATA_DIM = 3
VARIABLES = {"categorical": Categoricals(2, 4), "bernoulli": Bernoullis(4)}
ONE_HOT = torch.eye(4, dtype=torch.float64)


class ByRow(nn.Module):
    """Outputs with an offset of each row's own, so that one gradient holds a gradient of every row."""

    def __init__(self, rows: int, start: Tensor, weight: Tensor | None = None) -> None:
        super().__init__()
        self.weight = weight
        self.own = nn.Parameter(start.repeat(rows, 1))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.weight is None:
            return self.own
        outputs = ((inputs @ self.weight) ** 2).unflatten(0, (-1, len(self.own))) + self.own
        return outputs.flatten(0, 1)


def problem(name: str, rows: int = 1) -> tuple[GenerativeModel, DiscreteGuide, Tensor]:
    """Return a model and a guide of the library, in float64, and one row in `rows` copies."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    variables = VARIABLES[name]
    weight = normal(variables.width, DATA_DIM)
    likelihood = GaussianWithSharedScale(torch.zeros(DATA_DIM), torch.ones(DATA_DIM), 0.1)
    decoder = ByRow(rows, normal(1, DATA_DIM), weight)
    model = GenerativeModel(LearnedStates(variables), decoder, likelihood).double()
    model.prior.logits.data = normal(variables.width)
    guide = DiscreteGuide(ByRow(rows, normal(1, variables.width)), variables)
    return model, guide, normal(1, DATA_DIM).repeat(rows, 1)


def states(name: str) -> Tensor:
    """Return all sixteen values of z, shape (16, width)."""
    if name == "bernoulli":
        return torch.tensor(list(itertools.product([0.0, 1.0], repeat=4)), dtype=torch.float64)
    pairs = itertools.product(range(4), repeat=2)
    return torch.stack([torch.cat([ONE_HOT[first], ONE_HOT[second]]) for first, second in pairs])


def log_mass(name: str, logits: Tensor, z: Tensor) -> Tensor:
    """Return log of the probability of z, written out."""
    if name == "bernoulli":
        return (z * logits.sigmoid().log() + (1 - z) * (-logits).sigmoid().log()).sum(-1)
    return sum((z[..., part] * logits[..., part].log_softmax(-1)).sum(-1) for part in (slice(4), slice(4, 8)))


def kl(name: str, model: Any, guide: Any) -> Tensor:
    """Return KL(q(z | x) || p(z)) by a sum over all states."""
    z = states(name)
    q, p = (log_mass(name, logits, z) for logits in (guide.encoder.own[0], model.prior.logits))
    return (q.exp() * (q - p)).sum()


def log_likelihood_at(model: Any, x: Tensor, z: Tensor) -> Tensor:
    """Return log p(x | z) of one row x at values z, relaxed or not, shape (len(z),)."""
    decoder, scale = model.decoder, model.likelihood.scale(model.likelihood.raw_scale)
    loc = (z @ decoder.weight) ** 2 + decoder.own[0]
    return torch.distributions.Normal(loc, scale).log_prob(x).sum(-1)


def exact_elbo(name: str, model: Any, guide: Any, x: Tensor, beta: float = 1.0) -> Tensor:
    """Return the ELBO of one row, its divergence weighed by beta."""
    z = states(name)
    q = log_mass(name, guide.encoder.own[0], z).exp()
    return (q * log_likelihood_at(model, x, z)).sum() - beta * kl(name, model, guide)


def exact_log_prob(name: str, model: Any, x: Tensor) -> Tensor:
    """Return log p(x) of one row."""
    z = states(name)
    return (log_mass(name, model.prior.logits, z) + log_likelihood_at(model, x, z)).logsumexp(0)


def two_sites() -> tuple[Any, Any, dict[str, Tensor]]:
    """Return a user's programs of two sites of four states, the second given the first, and their parameters."""
    generator = torch.Generator().manual_seed(1)
    shapes = {"first": (4,), "second": (4, 4), "q_first": (4,), "q_second": (4, 4), "weight": (8, DATA_DIM)}
    tables = {
        name: torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for name, shape in shapes.items()
    }

    def model(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.OneHotCategorical(logits=tables["first"]))
            b = pyro.sample("b", dist.OneHotCategorical(logits=a @ tables["second"]))
            loc = torch.cat([a, b], -1) @ tables["weight"]
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            a = pyro.sample("a", dist.OneHotCategorical(logits=tables["q_first"]))
            pyro.sample("b", dist.OneHotCategorical(logits=a @ tables["q_second"]))

    return model, guide, tables


def exact_elbo_of_two_sites(tables: dict[str, Tensor], x: Tensor) -> Tensor:
    """Return the mean ELBO of rows, summed over all states."""
    total = x.new_zeros(())
    for i, j in itertools.product(range(4), repeat=2):
        p, q = (
            tables[f"{of}first"].log_softmax(-1)[i] + tables[f"{of}second"][i].log_softmax(-1)[j]
            for of in ("", "q_")
        )
        loc = tables["weight"][i] + tables["weight"][4 + j]
        likelihood = torch.distributions.Normal(loc, 1.0).log_prob(x).sum(-1).mean()
        total = total + q.exp() * (likelihood + p - q)
    return total

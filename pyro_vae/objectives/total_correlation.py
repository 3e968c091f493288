"""The divergence from the prior in three parts: mutual information, total correlation, dimension-wise divergence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from pyro_vae._checks import check, check_choice, check_integer, check_positive
from pyro_vae.objectives.divergences import factors_of
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.loss import Objective

__all__ = ["SAMPLING", "DivergenceParts", "TotalCorrelation", "divergence_parts", "log_shares"]

SAMPLING = ("stratified", "weighted")
"""Estimators of q(z) of all rows from those of a batch."""


class DivergenceParts(NamedTuple):
    """`log q(z | x) - log p(z)` of each sample and row in three parts, each (num_particles, N), nats.

    Their means over rows and z ~ q(z | x) are the divergences of these names. Their sum is `log q(z | x) - log p(z)`
    for any estimate of q(z).
    """

    mutual_information: Tensor
    """log q(z | x) - log q(z), of row index and z ("index-code mutual information")."""
    total_correlation: Tensor
    """log q(z) - sum_d log q(z_d)."""
    dimensions: Tensor
    """sum_d (log q(z_d) - log p(z_d)), the dimension-wise divergence."""


@dataclass(frozen=True)
class TotalCorrelation(Objective):
    """`E_q[log p(x | z)] - a I(n; z) - b KL(q(z) || prod_d q(z_d)) - c sum_d KL(q(z_d) || p(z_d))`.

    The ELBO with a weight for each of three parts of its divergence (Chen et al. 2018, eqs. 2 and 4, whose alpha, beta
    and gamma are a, b and c; a = c = 1 is the beta-TCVAE). q(z) is the mean of q(z | x_n) over all N rows of the data
    set, estimated from those of the batch, see `log_shares`; its logarithm is biased, most for small batches. The
    reported ELBO has weights one.

    Args:
        num_particles: Samples of z per row and step.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        num_rows: N, number of training rows.
        mi_weight: a, weight of the mutual information of row index and z.
        tc_weight: b, weight of the total correlation.
        dimension_weight: c, weight of the dimension-wise divergence.
        sampling: One of `SAMPLING`.

    Raises:
        InputError: If an argument is out of range; in a run, if the guide is not one site, normal with independent
            dimensions, or a batch has one row.
    """

    num_rows: int | None = None
    mi_weight: float = 1.0
    tc_weight: float = 6.0
    dimension_weight: float = 1.0
    sampling: str = "stratified"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_rows is not None:
            check_integer(self.num_rows, "num_rows", minimum=2)
        for name in ("mi_weight", "tc_weight", "dimension_weight"):
            check_positive(getattr(self, name), name, zero=True)
        check_choice(self.sampling, SAMPLING, "sampling")

    @property
    def is_elbo(self) -> bool:
        """Whether all weights are one."""
        return self.mi_weight == self.tc_weight == self.dimension_weight == 1

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example.

        Raises:
            InputError: If `num_rows` is not known.
        """
        check(
            self.num_rows is not None,
            "Expected num_rows, the number of training rows, to estimate q(z) from a batch; got none. "
            "Give TotalCorrelation(num_rows=len(train)).",
        )
        assert self.num_rows is not None
        likelihood = draws.log_probs.likelihood
        shares = log_shares(likelihood.shape[1], self.num_rows, self.sampling, likelihood)
        parts = divergence_parts(draws, shares)
        weights = (self.mi_weight, self.tc_weight, self.dimension_weight)
        weighted = sum(
            (w * part for w, part in zip(weights, parts, strict=True)), start=likelihood.new_zeros(())
        )
        return -(likelihood - weighted).mean()


def log_shares(
    batch_size: int, num_rows: int, sampling: str = "stratified", like: Tensor | None = None
) -> Tensor:
    """Return the log weights of the rows of a batch in q(z): in row m and column n, of q(z | x_n) at z from row m.

    With B of N rows in the batch, "stratified" gives row m itself 1/N, and each other row (N - 1) / (N (B - 1)). The
    estimate of q(z) is unbiased if batches are drawn without replacement. It is that of Chen et al. 2018, appendix C.2,
    averaged over the choice of its last row. "weighted" gives each row 1 / (N B), their eq. 3 for E[log q(z)].

    Args:
        batch_size: B, at least 2.
        num_rows: N.
        sampling: One of `SAMPLING`.
        like: A tensor with the dtype and device of the result; None for float64 on the CPU.

    Returns:
        Shape (B, B).

    Raises:
        InputError: If the batch has one row.
    """
    check(
        batch_size > 1,
        f"Expected batches of at least two rows, to estimate q(z); got {batch_size}. Choose a batch_size "
        "that leaves no batch of one row.",
    )
    own, others = 1 / num_rows, (num_rows - 1) / (num_rows * (batch_size - 1))
    if sampling == "weighted":
        own = others = 1 / (num_rows * batch_size)
    like = torch.zeros((), dtype=torch.float64) if like is None else like
    is_own = torch.eye(batch_size, dtype=torch.bool, device=like.device)
    return torch.where(is_own, like.new_full((), math.log(own)), like.new_full((), math.log(others)))


def divergence_parts(draws: Draws, shares: Tensor) -> DivergenceParts:
    """Return the divergence of each row in its three parts.

    Args:
        draws: Draws of a guide with one site, normal with independent dimensions.
        shares: Result of `log_shares`, shape (N, N).

    Raises:
        InputError: If the guide is not of this kind.
    """
    site = draws.guide_sites[0]
    factors = factors_of(site["fn"])
    check(
        len(draws.guide_sites) == 1 and isinstance(factors, Normal),
        "Expected a guide of one site, normal with independent dimensions, whose marginals q(z_d | x) are known; got "
        f"{', '.join(type(s['fn']).__name__ for s in draws.guide_sites)}. Take a diagonal guide.",
    )
    log_q, log_p = draws.log_probs.guide, draws.log_probs.prior
    # Each sample under the posterior of each row: (..., row of the sample, row of the posterior, dimension).
    posteriors = Normal(factors.loc.unsqueeze(-3), factors.scale.unsqueeze(-3))
    table = posteriors.log_prob(site["value"].unsqueeze(-2))
    marginal = (table.sum(-1) + shares).logsumexp(-1)
    product = (table + shares.unsqueeze(-1)).logsumexp(-2).sum(-1)
    parts = (log_q - marginal, marginal - product, product - log_p)
    return DivergenceParts(*(part.expand_as(log_q) for part in parts))

"""Mixtures of discretized logistics for pixels with dependent channels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_vae._compat import validate_sample
from pyro_vae.distributions.discretized_logistic import OnLevels, censored_mean, level_log_prob, to_levels

__all__ = ["LogisticMixture"]

NUM_POINTS = 16
"""Number of quadrature points for the mean of a channel over the earlier ones."""


class LogisticMixture(TorchDistribution):
    """Pixels of integer levels on [0, 1]: K components per pixel, channels linear in the earlier ones.

    `P(x) = prod_p sum_k w_kp prod_c P(x_cp | loc_kcp + sum_{j<c} a_kcjp (x_jp - centre_jp), scale_kcp)`, a discretized
    logistic (`level_log_prob`) for each channel c of pixel p (Salimans et al. 2017, equations 1 to 3).

    Args:
        logits: Logits of the weights, shape (..., K, positions), up to a constant for each position.
        loc: Locations, shape (..., K, channels, positions).
        scale: Scales, above 0, same shape as `loc`.
        coefficients: Shape (..., K, channels (channels - 1) / 2, positions), of the pairs (1, 0), (2, 0), (2, 1) ...
        centre: Offset of each channel in the locations of later ones, shape (channels, positions).
        levels: Number of levels.
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}  # noqa: RUF012 (as in torch)
    has_rsample = False

    def __init__(
        self,
        logits: Tensor,
        loc: Tensor,
        scale: Tensor,
        coefficients: Tensor,
        centre: Tensor,
        levels: int,
        validate_args: bool | None = None,
    ) -> None:
        self.logits, self.loc, self.scale, self.coefficients = logits, loc, scale, coefficients
        self.centre, self.levels = centre, levels
        event_shape = torch.Size([centre.numel()])
        super().__init__(logits.shape[:-2], event_shape, validate_args=validate_args)

    @property
    def support(self) -> Constraint:
        """The levels."""
        return constraints.independent(OnLevels(self.levels), 1)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> LogisticMixture:
        """Return the distribution with another batch shape."""
        own = len(self.batch_shape)
        logits, loc, scale, coefficients = (
            part.expand(*batch_shape, *part.shape[own:])
            for part in (self.logits, self.loc, self.scale, self.coefficients)
        )
        return type(self)(logits, loc, scale, coefficients, self.centre, self.levels)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of rows, shape (...,) for values (..., channels * positions)."""
        validate_sample(self, value)
        return self.position_log_prob(value).sum(-1)

    def position_log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each pixel, all channels together, shape (..., positions)."""
        channels = value.unflatten(-1, self.centre.shape).unsqueeze(-3).unbind(-2)  # each (..., 1, positions)
        joint = self.logits.log_softmax(-2)
        for x, loc, scale in zip(channels, self.locations(channels), self.scale.unbind(-2), strict=True):
            joint = joint + level_log_prob(x, loc, scale, self.levels)
        return joint.logsumexp(-2)

    def locations(self, channels: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the location of each channel, shape (..., K, positions), given the previous channels.

        Args:
            channels: Values, each (..., 1, positions).
        """
        return self._locations(self.loc, self.coefficients, channels)

    def _locations(self, loc: Tensor, coefficients: Tensor, channels: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield the location of each channel, given the previous channels.

        Args:
            loc: Shape (..., K, channels, positions).
            coefficients: Shape (..., K, channels (channels - 1) / 2, positions).
            channels: Values, each (..., K or 1, positions); channel c is read after its location is yielded, so the
                list may grow during iteration.
        """
        for c in range(len(self.centre)):
            shift = loc[..., c, :]
            for j in range(c):
                shift = shift + coefficients[..., c * (c - 1) // 2 + j, :] * (channels[j] - self.centre[j])
            yield shift

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (as in torch)
        """Draw a component for each pixel (Gumbel-max), then channel by channel."""
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        component = (
            (logits - torch.empty_like(logits).exponential_().log()).argmax(-2, keepdim=True).unsqueeze(-2)
        )

        def of_component(part: Tensor) -> Tensor:
            """Return (..., 1, maps, positions) from (..., K, maps, positions)."""
            lead, maps, positions = component.shape[:-3], *part.shape[-2:]
            whole = part.expand(*lead, *part.shape[-3:])
            return whole.gather(-3, component.expand(*lead, 1, maps, positions))

        loc, scale, coefficients = map(of_component, (self.loc, self.scale, self.coefficients))
        noise, drawn = torch.rand_like(loc).logit().unbind(-2), list[Tensor]()
        for shift, s, e in zip(
            self._locations(loc, coefficients, drawn), scale.unbind(-2), noise, strict=True
        ):
            drawn.append(to_levels(shift + s * e, self.levels))
        return torch.stack(drawn, dim=-2).flatten(-2).squeeze(-2)

    @property
    def mean(self) -> Tensor:
        """The mean, shape (..., channels * positions).

        The mean of a channel given the earlier ones is `censored_mean`. It is averaged over the earlier
        channels at 16 Sobol points.
        """
        weights, scales = self.logits.softmax(-2), self.scale.unbind(-2)
        means = [torch.zeros_like(scale) for scale in scales]
        points = _sobol_points(len(scales) - 1).to(self.loc)
        for point in points:
            drawn: list[Tensor] = []
            for c, shift in enumerate(self._locations(self.loc, self.coefficients, drawn)):
                means[c] = means[c] + censored_mean(shift, scales[c]) / len(points)
                if c < len(point):
                    drawn.append(to_levels(shift + scales[c] * point[c].logit(), self.levels))
        return torch.stack([(weights * mean).sum(-2) for mean in means], dim=-2).flatten(-2)


def _sobol_points(dims: int) -> Tensor:
    """Return points of (0, 1)^dims, each coordinate at the midpoints of equal cells; one point if `dims` is 0."""
    if dims == 0:
        return torch.empty(1, 0)
    return torch.quasirandom.SobolEngine(dims).draw(NUM_POINTS) + 0.5 / NUM_POINTS

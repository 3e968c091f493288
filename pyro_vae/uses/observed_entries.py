"""A model of the observed entries of rows: missing entries (NaN) are left out of its likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pyro.distributions import TorchDistribution
from pyro.poutine.messenger import Messenger
from torch import Size, Tensor

from pyro_vae._checks import check
from pyro_vae._context import ContextRange, context_range_of
from pyro_vae._programs import Program
from pyro_vae.evaluate._weighted_runs import cell_log_prob

__all__ = ["ObservedEntries", "parts_log_prob"]


class ObservedEntries(Program):
    """A program with `p(x_obs | z) = prod_j p(x_j | z)` over the observed entries j in place of p(x | z).

    Entries, or pixels of several channels, are independent given z, so this is exactly the marginal over missing
    entries (NaN). Models whose likelihood handles missing entries do not need it.

    Args:
        model: A Pyro program with one observed site, whose entries are independent given z and may be 0.
        left_out: Number of context tensors at the end that only the guide takes.

    Raises:
        InputError: When run, if neither entries nor pixels are independent given z.
    """

    def __init__(self, model: Callable[..., Any], left_out: int = 0) -> None:
        super().__init__()
        self.model = model
        self.left_out = left_out

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors of the model, plus those of the guide."""
        own = context_range_of(self.model)
        return ContextRange(own.least + self.left_out, own.most + self.left_out, own.ignores_more)

    def forward(self, x: Tensor, *context: Tensor) -> Any:
        """Run the model on rows x, shape (N, data_dim), NaN where missing; return what it returns."""
        with _ObservedAlone():
            return self.model(x, *context[: len(context) - self.left_out])


class _ObservedAlone(Messenger):
    """Leave NaN entries out of the log-probability of the observed site."""

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"]:
            msg["fn"] = _Observed(msg["fn"])


class _Observed(TorchDistribution):
    """A distribution of complete rows, scored by their entries that are not NaN."""

    arg_constraints: ClassVar[dict[str, Any]] = {}

    def __init__(self, base: Any) -> None:
        self.base = base
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """The support of complete rows."""
        return self.base.support

    @property
    def mean(self) -> Tensor:
        """Mean of all entries, observed or not, shape (..., D)."""
        mean: Tensor = self.base.mean
        return mean

    @property
    def variance(self) -> Tensor:
        """Variance of all entries, observed or not, shape (..., D)."""
        variance: Tensor = self.base.variance
        return variance

    def expand(self, batch_shape: Size, _instance: Any = None) -> _Observed:
        """Return the distribution with another batch shape."""
        return _Observed(self.base.expand(batch_shape))

    def sample(self, sample_shape: Size = Size()) -> Tensor:  # noqa: B008 (as torch has it)
        """Draw complete rows."""
        drawn: Tensor = self.base.sample(sample_shape)
        return drawn

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of the entries that are not NaN, shape (...), nats."""
        # Replace NaN by 0: a NaN value would make the gradient NaN even where it is masked.
        cells = parts_log_prob(self.base, value.nan_to_num(0.0))
        observed = ~value.isnan()
        if cells.shape[-1] != value.shape[-1]:
            observed = _observed_pixels(observed, cells.shape[-1])
        return (cells * observed).sum(-1)


def parts_log_prob(base: Any, value: Tensor) -> Tensor:
    """Return the log-density of the parts of a row that are independent given z: entries, or pixels of all channels.

    Raises:
        InputError: If no such parts are known.
    """
    wrapped: Any
    for wrapped in (base, getattr(base, "base_dist", None)):  # plates may wrap the distribution
        if hasattr(wrapped, "position_log_prob"):
            pixels: Tensor = wrapped.position_log_prob(value)
            return pixels
    return cell_log_prob(base, value)


def _observed_pixels(observed: Tensor, num_positions: int) -> Tensor:
    """Return which pixels are observed, shape (..., positions), from the entries (..., channels * positions)."""
    channels = observed.unflatten(-1, (-1, num_positions))
    some, every = channels.any(-2), channels.all(-2)
    check(
        bool((some == every).all()),
        "Expected pixels missing in all channels or in none, as the channels of this likelihood depend on one another; "
        "got others. Hide whole pixels.",
    )
    return every

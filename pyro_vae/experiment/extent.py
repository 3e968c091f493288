"""Extent of the evaluation at the end of a run: all rows, fewer rows, or none."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from pyro_vae._checks import check_choice
from pyro_vae.data import DataSet
from pyro_vae.experiment.comparison import SCORED_ROWS, SCORED_SAMPLES
from pyro_vae.experiment.num_products import num_products

__all__ = ["PARTICLES", "QUICK_ROWS", "Extent", "extent_of", "full_cost"]

PARTICLES = 10
"""Samples of z for each row in the final ELBO: the Monte Carlo error is then small compared with that over rows."""
LARGEST_COST = 1e13
"""Largest cost of a full evaluation by default, in units of `full_cost`: a few minutes on two cores."""
QUICK_ROWS, QUICK_SCORED_ROWS = 1000, 100
"""Rows of each split for the ELBO of a quick evaluation, and test rows for its log p(x)."""


@dataclass(frozen=True)
class Extent:
    """Extent of the evaluation.

    Args:
        kind: "full", "quick" or "none".
        reason: Reason of an automatic choice, as a clause after "because"; empty if the extent was given.
    """

    kind: str
    reason: str = ""

    @property
    def rows(self) -> int | None:
        """Rows of each split whose ELBO is estimated; None for all."""
        return None if self.kind == "full" else QUICK_ROWS

    @property
    def scored_rows(self) -> int:
        """Test rows whose log p(x) is estimated."""
        return SCORED_ROWS if self.kind == "full" else QUICK_SCORED_ROWS

    @property
    def sentence(self) -> str:
        """The extent of the evaluation and the reason; empty for an ordinary full evaluation."""
        because = f", because {self.reason}" if self.reason else ""
        return {
            "full": "",
            "quick": f"Quick evaluation{because}: the ELBO of at most {QUICK_ROWS} evenly spaced rows of each split, "
            f"log p(x) of {QUICK_SCORED_ROWS} test rows, no linear baselines.",
            "none": "Not evaluated (--evaluate none).",
        }[self.kind]


def full_cost(dataset: DataSet, products: int) -> float:
    """Return the cost of a full evaluation: rows x samples x products, of the ELBO and of log p(x) together."""
    rows = len(dataset.train) + len(dataset.validation) + len(dataset.test)
    return float(products) * (rows * PARTICLES + min(SCORED_ROWS, len(dataset.test)) * SCORED_SAMPLES)


def extent_of(evaluation: str, dataset: DataSet, *programs: nn.Module) -> Extent:
    """Return the extent of the evaluation of a run.

    Args:
        evaluation: "full", "quick", "none", or "auto": quick if `full_cost` is above `LARGEST_COST`, else full. The
            choice depends only on rows, samples and networks, so it is the same for the same run.
        dataset: The data set of the training run.
        programs: Model and guide.
    """
    check_choice(evaluation, ("auto", "full", "quick", "none"), "--evaluate")
    if evaluation != "auto":
        return Extent(evaluation)
    cost = full_cost(dataset, num_products(dataset, *programs))
    if cost <= LARGEST_COST:
        return Extent("full")
    return Extent(
        "quick",
        f"rows x samples x products of weights of a full one are {cost:.1e}, more than {LARGEST_COST:.0e}",
    )

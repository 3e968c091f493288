"""Exact baselines for comparison with a variational autoencoder; two of them are fitted at the end of a run.

They are imported when they are fitted: scikit-learn takes half as long to import as torch, and not every run needs it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError
from pyro_vae.data import DataSet
from pyro_vae.data.columns import WITH_DENSITY
from pyro_vae.experiment.comparison.entries import Entry, density_shift, fit_baseline
from pyro_vae.experiment.comparison.pooled_moments import pooled_moments
from pyro_vae.experiment.comparison.residuals import residuals
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.progress import progress_bar

__all__ = ["NAMES", "exact_baselines", "linear_baselines", "no_density"]

BASELINE_BYTES = 2**32
"""Largest size of the training rows (as float64) for which baselines are fitted at the end of a run."""

NAMES = {
    "ppca": "PPCA, closed form",
    "ppca_em": "PPCA by EM",
    "factor_analysis": "factor analysis",
    "mixture_of_ppca": "mixture of PPCA",
}


def exact_baselines(latent_dim: int, num_clusters: int, seed: int) -> dict[str, tuple[str, Any]]:
    """Return the exact estimators of a comparison by key: name in tables, and estimator."""
    from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA

    return {
        "ppca": (NAMES["ppca"], PPCA(latent_dim)),
        "ppca_em": (NAMES["ppca_em"], PPCAEM(latent_dim, random_state=seed)),
        "factor_analysis": (
            NAMES["factor_analysis"],
            FactorAnalysis(latent_dim, n_init=1, random_state=seed),
        ),
        "mixture_of_ppca": (
            f"{NAMES['mixture_of_ppca']}, {num_clusters} clusters",
            MixtureOfPPCA(latent_dim, n_clusters=num_clusters, random_state=seed),
        ),
    }


def no_density(dataset: DataSet) -> str:
    """Return the reason why log p(x) of a data set cannot be compared with a density of x; empty if it can.

    Entries of real and positive columns have a density, and missing ones are marginalised exactly. Levels and counts
    have probabilities, so log p(x) of a row with both is not comparable with a density.
    """
    others = [c.name for c in dataset.columns or () if c.kind not in WITH_DENSITY]
    if not others:
        return ""
    named = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
    return (
        f"not compared: a density of all columns is in another unit than the probabilities of {len(others)} of the "
        f"{dataset.data_dim} columns ({named})"
    )


def linear_baselines(
    dataset: DataSet, latent_dim: int, processes: Processes = SINGLE_PROCESS, *, progress: bool = False
) -> dict[str, Entry | str]:
    """Fit PPCA and factor analysis to a data set's training split, for the end of a run.

    Args:
        dataset: Data set without binary preprocessing, because zeros and ones have no density. Integers that have
            probabilities are dequantized, and the values are bounds on the log of their probabilities. If x has
            context, the baselines are fitted to residuals, see `residuals`.
        latent_dim: Size of z.
        processes: Processes that share the rows; the statistics of PPCA are summed over them, and the first process
            does the rest.
        progress: Whether to show a progress bar on stderr.

    Returns:
        An entry by key of `summary.json`, or the reason for its absence.
    """
    from pyro_vae.baselines import PPCA, FactorAnalysis

    size = 8 * len(dataset.train) * dataset.data_dim
    if size > BASELINE_BYTES:
        return {
            "ppca": f"not fitted: {size / 2**30:.0f} GiB of training rows; PPCA.partial_fit takes them in chunks"
        }
    train, test = residuals(dataset.as_density())
    ppca = PPCA(latent_dim)

    def fit_ppca() -> PPCA:
        return ppca.fit_moments(pooled_moments(train[processes.share(len(train))], processes))

    with progress_bar(2, "models", f"fitting {NAMES['ppca']}", shown=progress, leave=False) as bar:
        fit_it = fit_ppca if processes.count > 1 else None
        found = {"ppca": _entry_or_reason(ppca, "ppca", train, test, fit_it)}
        bar.update()
        if processes.rank == 0:
            bar.set_description_str(f"fitting {NAMES['factor_analysis']}")
            estimator = FactorAnalysis(latent_dim, n_init=1)
            found["factor_analysis"] = _entry_or_reason(estimator, "factor_analysis", train, test)
            bar.update()
    shift = density_shift(dataset)
    return {key: entry if isinstance(entry, str) else entry.shifted(shift) for key, entry in found.items()}


def _entry_or_reason(
    estimator: Any,
    key: str,
    train: NDArray[np.float64],
    test: NDArray[np.float64],
    fit: Callable[[], Any] | None = None,
) -> Entry | str:
    try:
        return fit_baseline(estimator, NAMES[key], train, test, fit)
    except InputError as error:
        return f"not defined here: {error}"
    except MemoryError as error:
        return f"not fitted: not enough memory ({error})"

"""`ImputesRows`: imputation of missing entries by `VAE`, and multiple imputation."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae.estimator.densities import impute_rows
from pyro_vae.estimator.reads_rows import ReadsRows

__all__ = ["ImputesRows"]


class ImputesRows(ReadsRows):
    """An estimator that replaces missing entries by what its model expects, or by draws."""

    model_: Any
    guide_: Any
    num_samples: int
    seed_: int

    def impute(self, X: ArrayLike) -> Any:
        """Rows X of shape (N, D) with each NaN replaced by its expectation given the observed part of its row.

        In columns with levels it is replaced by the code of the most probable level. Estimates are by importance
        sampling (Mattei & Frellsen 2019, eq. 10-12), for entries missing at random. NaN needs likelihood="table". A
        DataFrame of mixed columns is returned as one, with its levels; columns that are not modelled are unchanged.
        """
        check_is_fitted(self, "model_")
        rows = self._rows(X)
        return self._completed(
            X, impute_rows(self.model_, self.guide_, rows, self.num_samples, self.seed_).value
        )

    def sample_imputations(self, X: ArrayLike, n_draws: int = 5, random_state: Any = None) -> list[Any]:
        """Draw completed rows from p(x_mis | x_obs), for multiple imputation (Mattei & Frellsen 2019).

        Each draw takes one of `num_samples` samples of z and the missing entries by its importance weight. The
        draws of a row are a function of its entries and the seed: equal rows have equal draws.

        Args:
            X: Rows, shape (N, D), NaN where missing, as in `impute`.
            n_draws: Number of completed copies.
            random_state: Random state of the draws, as in scikit-learn.

        Returns:
            Completed copies of X, each as `impute` returns it.
        """
        check_is_fitted(self, "model_")
        count, rows = check_integer(n_draws, "n_draws"), self._rows(X)
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        draws = impute_rows(self.model_, self.guide_, rows, self.num_samples, seed, count).draws
        return [self._completed(X, draw) for draw in draws]

    def _completed(self, X: Any, rows: Tensor) -> Any:
        return rows.numpy() if self.frame_ is None else self.frame_.complete(X, rows.numpy())

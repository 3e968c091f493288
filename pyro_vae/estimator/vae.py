"""`VAE`: a variational autoencoder as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import ClassNamePrefixFeaturesOutMixin, OutlierMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pyro_vae._checks import check, check_integer
from pyro_vae.baselines._gaussian import Array
from pyro_vae.data.columns import WITH_DENSITY
from pyro_vae.estimator.comparison import PPCAComparison, compare_with_ppca
from pyro_vae.estimator.densities import ESTIMATES, posterior_means
from pyro_vae.estimator.imputes_rows import ImputesRows
from pyro_vae.estimator.parameters import check_parameters, check_values
from pyro_vae.estimator.training import Training, as_double, train

__all__ = ["VAE"]


class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, OutlierMixin, ImputesRows):
    """A variational autoencoder with the interface of scikit-learn: density, embedding and outlier detector.

        z ~ p(z),   x | z ~ p(x | decoder(z)),   q(z | x) = guide(encoder(x))       (Kingma & Welling 2014)

    Training uses stochastic variational inference with early stopping on a share of the rows. Evaluation is in double
    precision. Its noise depends only on `random_state` and is the same for every row, so the score of a row does not
    depend on batch or order. The errors of the scores of different rows are therefore not independent.

    Args:
        n_components: Size of z; None uses half the number of features, at least 1 and at most 16.
        likelihood: p(x | z): "gaussian", "gaussian-shared", "gaussian-isotropic", "laplace" or "student-t" for real
            numbers, "bernoulli" for zeros and ones, "continuous-bernoulli" for numbers in [0, 1], "table" for columns
            of different kinds with NaN for missing values. Same as `--likelihood` of the scripts.
        kinds: Kinds of the columns, with likelihood "table": "real", "student-t", "positive", "count", "poisson",
            "binary", "ordinal" or "categorical" for each, as `--columns` of the scripts; None means all real. Entries
            of the last three are codes 0, 1, ... of levels, as from scikit-learn's `OrdinalEncoder`. For a DataFrame
            with text, dates or booleans the kinds are inferred, as with `--likelihood table` of the scripts;
            {name: kind} overrides single columns. {} infers kinds also for a DataFrame of numbers. Levels are then
            the values of the columns.
        guide: q(z | x), as `--guide`: "diagonal", "full-covariance", "low-rank", "mixture", "iaf", "spline".
        prior: p(z), as `--prior`.
        objective: Objective, as `--objective`: "elbo", "iwae", ....
        num_particles: Samples of z for each row in a step.
        hidden: Widths of the hidden layers; None chooses them from the number of rows and features.
        epochs: Largest number of passes over the training rows; None uses about 3000 steps and early stopping.
        batch_size: Rows per step.
        learning_rate: Learning rate of Adam; None uses 0.005 below 1000 training rows and 0.002 above.
        validation_fraction: Share of the rows that are held out for early stopping and for the comparison with PPCA; 0
            trains on all rows to the last epoch.
        patience: Stop after this many epochs without a better validation score; None uses an eighth of `epochs`.
        num_samples: Samples of z for each row in `score_samples`.
        estimate: What `score_samples` estimates: "log-likelihood", log p(x) by importance sampling, or "elbo", which is
            lower by KL(q(z | x) || p(z | x)): the encoder is less accurate for rows unlike those of training.
        contamination: Share of the training rows that `predict` calls outliers, in (0, 0.5].
        compile: "auto" compiles the steps of long fits only; "on" or "off".
        device: Device of training: "auto" (CUDA if available), "cpu" or "cuda"; evaluation is on the CPU.
        random_state: Seed of the split, the initial weights and the noise; None, a seed or a generator.

    Attributes:
        model_, guide_: The Pyro programs, in double precision, on the CPU.
        columns_: Kinds and levels of the columns with likelihood "table", else None.
        frame_: For a DataFrame of mixed columns, the modelled columns and those left out; else None.
        n_components_: The latent size.
        hidden_: Widths of the hidden layers.
        history_: One dict per epoch, as `FitResult.history`.
        n_iter_: Number of epochs that were run.
        best_epoch_: Epoch of the kept weights.
        ppca_comparison_: Mean log p(x) of the validation rows by this model and by PPCA of standardized columns, nats,
            with the standard error of the difference; None without validation rows or if x is not real.
        offset_: Score below which a row is an outlier, nats.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Kingma & Welling (2014), Auto-encoding variational Bayes. Burda et al. (2016), Importance weighted autoencoders.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import VAE
        >>> x = load_iris().data
        >>> vae = VAE(n_components=2, epochs=5, validation_fraction=0, random_state=0).fit(x)
        >>> vae.transform(x).shape
        (150, 2)
        >>> vae.score_samples(x).shape  # log p(x) of each row
        (150,)
        >>> vae.sample(3).shape
        (3, 4)
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        likelihood: str = "gaussian",
        kinds: Sequence[str] | Mapping[str, str] | None = None,
        guide: str = "diagonal",
        prior: str = "standard-normal",
        objective: str = "elbo",
        num_particles: int = 1,
        hidden: Sequence[int] | None = None,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float | None = None,
        validation_fraction: float = 0.15,
        patience: int | None = None,
        num_samples: int = 100,
        estimate: str = "log-likelihood",
        contamination: float = 0.1,
        compile: str = "auto",  # noqa: A002 (the name in PyTorch)
        device: str = "auto",
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.likelihood = likelihood
        self.kinds = kinds
        self.guide = guide
        self.prior = prior
        self.objective = objective
        self.num_particles = num_particles
        self.hidden = hidden
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.num_samples = num_samples
        self.estimate = estimate
        self.contamination = contamination
        self.compile = compile
        self.device = device
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self.likelihood == "table"
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> VAE:
        """Train on rows X of shape (N, D); y is ignored.

        Raises:
            InputError: If a parameter is out of range, or X has fewer than two rows or values that the likelihood does
                not allow.

        Warns:
            UserWarning: If PPCA has the higher log p(x) of the validation rows, by more than two standard errors.
        """
        check_parameters(self)
        self.frame_, rows = self._read_training_rows(X)
        check(
            len(rows) >= 2,
            f"Expected X of at least 2 rows; got n_samples={len(rows)} (1 sample). Give more rows.",
        )
        check_values(self.likelihood, rows)
        self.columns_ = self._columns(rows)
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        trained = train(Training.of(self, rows.shape[1]), rows, self.seed_, self.columns_)
        self.model_, self.guide_ = as_double(trained.model), as_double(trained.guide)
        self.hidden_, self.history_ = trained.hidden, trained.result.history
        self.n_iter_, self.best_epoch_ = len(self.history_), trained.result.best_epoch
        log_prob = self._estimated(rows, "log-likelihood")
        scores = log_prob if self.estimate == "log-likelihood" else self._estimated(rows, self.estimate)
        self.offset_ = float(np.quantile(scores, self.contamination))
        self.ppca_comparison_: PPCAComparison | None = compare_with_ppca(
            rows, trained.validation, log_prob, self.n_components_, self._is_continuous()
        )
        return self

    @property
    def n_components_(self) -> int:
        """The latent size."""
        return int(self.model_.latent_dim)

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def transform(self, X: ArrayLike) -> Array:
        """The posterior means E_q[z] of rows X of shape (N, D), shape (N, n_components)."""
        check_is_fitted(self, "model_")
        return posterior_means(self.guide_, self._rows(X), self.num_samples, self.seed_)

    def inverse_transform(self, Z: ArrayLike) -> Any:
        """The mean of p(x | z) at Z of shape (N, n_components), shape (N, D).

        For an ordinal column it is the mean code, for a categorical one the code of the most probable level.
        """
        check_is_fitted(self, "model_")
        latents = np.array(Z, dtype=np.float64)
        check(
            latents.ndim == 2 and latents.shape[1] == self.n_components_,
            f"Expected Z of shape (N, {self.n_components_}); got {latents.shape}. Give latents as `transform` does.",
        )
        with torch.no_grad():
            mean = self.model_.likelihood(self.model_.decoder(torch.from_numpy(latents))).mean
        return mean.numpy() if self.frame_ is None else self.frame_.decode(mean.numpy())

    def score_samples(self, X: ArrayLike) -> Array:
        """Log p(x) of each row by importance sampling (Burda et al. 2016, eq. 8), a lower bound in expectation.

        With estimate="elbo" the mean of the log weights instead, the ELBO.

        Args:
            X: Rows, shape (N, D); with likelihood="table" NaN entries are left out.

        Returns:
            Shape (N,), nats in the units of X; minus infinity for values that the likelihood gives no probability.
        """
        check_is_fitted(self, "model_")
        return self._estimated(self._rows(X), self.estimate)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """The mean of `score_samples(X)` over rows X of shape (N, D), nats per example; y is ignored."""
        return float(self.score_samples(X).mean())

    def decision_function(self, X: ArrayLike) -> Array:
        """`score_samples(X) - offset_` of rows X of shape (N, D), shape (N,), nats; below 0 for outliers."""
        check_is_fitted(self, "model_")
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> Any:
        """-1 for outliers and 1 for inliers among rows X of shape (N, D), shape (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """Draw `n_samples` rows from p(x), shape (n_samples, D); `random_state` as in scikit-learn.

        After a fit to a DataFrame of mixed columns the result is a DataFrame of the modelled columns.
        """
        check_is_fitted(self, "model_")
        count = check_integer(n_samples, "n_samples")
        seed = int(check_random_state(random_state).randint(2**31 - 1))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rows = self.model_.sample(count).double().numpy()
        return rows if self.frame_ is None else self.frame_.decode(rows)

    def _estimated(self, rows: Array, estimate: str) -> Array:
        scores = ESTIMATES[estimate](self.model_, self.guide_, rows, self.num_samples, self.seed_)
        scores = np.where(np.isnan(rows).all(axis=1), 0.0, scores)  # nothing observed, probability 1
        return np.where(self._is_outside(rows), -np.inf, scores)

    def _is_continuous(self) -> bool:
        """Whether p(x) is a density of all columns, as that of PPCA is."""
        if self.columns_ is None:
            return bool(self.model_.likelihood.kind == "continuous")
        return all(column.kind in WITH_DENSITY for column in self.columns_)

"""A complete comparison: every requested model, fitted to one data set."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pyro_vae._checks import InputError, check
from pyro_vae.data import DataSet
from pyro_vae.data.units import bits_per_dim
from pyro_vae.experiment.comparison.baseline_entries import exact_baselines
from pyro_vae.experiment.comparison.entries import Entry, density_shift, fit_baseline, fit_vae
from pyro_vae.experiment.comparison.linear_vae import LinearVAE, fit_linear_vae
from pyro_vae.experiment.config import Config
from pyro_vae.likelihoods.registry import LIKELIHOODS

__all__ = ["MODELS", "Comparison", "compare"]

MODELS = ("ppca", "ppca_em", "factor_analysis", "mixture_of_ppca", "linear_vae", "vae")


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    Args:
        dataset: The data set.
        latent_dim: Size of z in every model.
        entries: Line of each fitted model, by name.
        linear: The linear VAE with its gaps, if requested.
    """

    dataset: DataSet
    latent_dim: int
    entries: dict[str, Entry]
    linear: LinearVAE | None

    def summary(self) -> dict[str, Any]:
        """Return lines and gaps as plain values, nats per example, and bits per dimension if x is integers."""
        values: dict[str, Any] = {
            "entries": {name: self._line(entry) for name, entry in self.entries.items()}
        }
        if self.linear is not None:
            gaps = {"parameters": self.linear.parameter_gap, "posterior": self.linear.posterior_gap}
            values["linear_vae"] = {"optimum": self.linear.optimum, "gap": gaps, "angle": self.linear.angle}
        return values

    def _line(self, entry: Entry) -> dict[str, Any]:
        bits = bits_per_dim(entry.test[0], self.dataset.data_dim, self.dataset.preprocessing)
        return asdict(entry) | ({} if bits is None else {"bits_per_dim": bits})


def compare(
    config: Config,
    dataset: DataSet,
    models: tuple[str, ...] = MODELS,
    *,
    num_clusters: int = 10,
    linear_settings: dict[str, Any] | None = None,
) -> Comparison:
    """Fit the requested models on the same rows with the same noise.

    Args:
        config: Configuration of the nonlinear VAE; its latent size and seed are those of all models.
        dataset: Its training split is fitted, its test split scored.
        models: Names of models, from `MODELS`.
        num_clusters: Local models of the mixture.
        linear_settings: Arguments of `fit_linear_vae`.

    Raises:
        InputError: If x is binary, which has no density, or z has as many dimensions as x, so that PPCA leaves no
            noise.
    """
    _check_comparable(config, dataset)
    latent_dim, seed = config.model.latent_dim, config.training.seed
    dense, shift = dataset.as_density(), density_shift(dataset)
    baselines = exact_baselines(latent_dim, num_clusters, seed)
    chosen = {key: baseline for key, baseline in baselines.items() if key in models}
    entries, linear = _fit_exact(chosen, dense, shift), None
    if "linear_vae" in models:
        print("Training the linear VAE ...", flush=True)
        fitted = fit_linear_vae(
            dense.train.tensor(), dense.test.tensor(), latent_dim, seed=seed, **(linear_settings or {})
        )
        linear = fitted.shifted(shift)
        entries["linear_vae"] = linear.entry
    if "vae" in models:
        print("Training the nonlinear VAE ...", flush=True)
        entries["vae"] = fit_vae(config, dataset)
    return Comparison(dataset, latent_dim, entries, linear)


def _check_comparable(config: Config, dataset: DataSet) -> None:
    """Raise `InputError` if x has no density, or if PPCA would leave no noise."""
    check(
        LIKELIHOODS[config.model.likelihood].kind != "binary",
        f"Expected a likelihood of grey or real values for a comparison with models that give x a density; got "
        f"{config.model.likelihood}. Choose another --likelihood.",
    )
    check(
        config.model.latent_dim < dataset.data_dim,
        f"Expected --latent-dim below the {dataset.data_dim} columns of the data, or PPCA has no noise left; "
        f"got {config.model.latent_dim}.",
    )


def _fit_exact(baselines: dict[str, tuple[str, Any]], dense: DataSet, shift: float) -> dict[str, Entry]:
    """Return the results of baselines, by key; a baseline that cannot be fitted is left out with a message."""
    train, test = (split.tensor().double().numpy() for split in (dense.train, dense.test))
    entries = {}
    for key, (name, estimator) in baselines.items():
        print(f"Fitting {name} ...", flush=True)
        try:
            entries[key] = fit_baseline(estimator, name, train, test).shifted(shift)
        except InputError as error:
            print(f"  left out: {error}")
    return entries

"""How well standard errors and k-hat of importance sampling are calibrated, where log p(x) is known exactly.

python scripts/calibration.py
python scripts/calibration.py --models 10 --out calibration
"""

from _clone import find_package

find_package()

from pyro_vae._environment import limit_thread_spinning, run_script

limit_thread_spinning()

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae import plots
from pyro_vae._checks import check_integer
from pyro_vae._command_line import parse
from pyro_vae.baselines import PPCA, FactorAnalysis
from pyro_vae.evaluate import LogLikelihood, iwae_curve, log_likelihood
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.text_table import format_table
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.statistics import mean_and_se
from pyro_vae.storage import write_json

TAIL_INDICES = (-0.5, 0.1, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9)
ROWS = 10
"""Rows that each model draws."""
BINS = (-np.inf, 0.2, 0.5, 0.7, np.inf)
CURVE = (1, 2, 5, 10, 50, 200, 1000)


@dataclass(frozen=True)
class Arguments:
    """Draw rows from linear models, score them under guides of known tail index, compare with the exact log p(x)."""

    models: int = 50
    """PPCA and factor analysis models in turn, each with 10 rows of its own."""
    num_samples: int = 1000
    """Samples of z for each row."""
    out: Path | None = None
    """Folder for calibration.json and calibration.png; a new numbered folder under runs/ if not given."""


class NarrowedGuide(ExactLinearGuide):
    """The exact posterior, narrowed along its widest direction so that the weights have a given tail index.

    With a standard deviation s in place of sigma the weights are `exp(a z^2 / 2)` times a constant, `a = 1 / s^2 -
    1 / sigma^2`, so `P(w > t) ~ t^(-1 / k)` with `k = a s^2 = 1 - s^2 / sigma^2`. Below 0 the guide is too wide.
    """

    def __init__(self, model: LinearGaussianModel, tail_index: float) -> None:
        super().__init__(model)
        self.tail_index = tail_index

    def family(self, outputs: Tensor) -> Any:
        """Return the narrowed posterior of the rows `outputs`."""
        exact: Any = super().family(outputs)
        precisions, axes = torch.linalg.eigh(exact.precision_matrix)
        narrowed = precisions.clone()
        narrowed[..., 0] = precisions[..., 0] / (1 - self.tail_index)
        precision = axes @ torch.diag_embed(narrowed) @ axes.mT
        return dist.MultivariateNormal(exact.loc, precision_matrix=precision)


def linear_model(seed: int) -> LinearGaussianModel:
    """Return a linear model of 5 columns and 2 latents: PPCA for an even seed, factor analysis for an odd one."""
    rng = np.random.default_rng(seed)
    baseline: Any = FactorAnalysis(2) if seed % 2 else PPCA(2)
    baseline.components_ = rng.normal(size=(2, 5))
    baseline.mean_ = rng.normal(size=5)
    baseline.noise_variance_ = rng.uniform(0.3, 1.0, 5) if seed % 2 else 0.5
    return LinearGaussianModel.from_baseline(baseline)


def scores(tail_index: float, num_models: int, num_samples: int) -> tuple[LogLikelihood, np.ndarray]:
    """Return the estimates for all rows, and the exact log p(x)."""
    columns, exact = [], []
    for seed in range(num_models):
        model, x = drawn(seed)
        found = log_likelihood(model, NarrowedGuide(model, tail_index), x, num_samples, seed=seed)
        columns.append(torch.stack(found.columns()))
        exact.append(model.to_baseline().score_samples(x.numpy()))
    return LogLikelihood.from_columns(torch.cat(columns, 1), num_samples), np.concatenate(exact)


def drawn(seed: int) -> tuple[LinearGaussianModel, Tensor]:
    """Return a model and rows that it has drawn."""
    model = linear_model(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return model, model.sample(ROWS)


def line(name: str, off: np.ndarray, se: np.ndarray, khat: np.ndarray) -> list[str]:
    """Return a line of a table: how often the exact value lies within two standard errors, and what k-hat said."""
    inside = np.abs(off) <= 2 * se
    share, error = mean_and_se(100 * inside)
    numbers = f"{share:.1f} ± {error:.1f}", f"{off.mean():+.4f}", f"{np.median(se):.4f}"
    return [name, str(len(off)), *numbers, f"{np.median(khat):.2f}"]


def study(num_models: int, num_samples: int) -> dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return for each true tail index the errors, the standard errors and k-hat of all rows."""
    found = {}
    for tail_index in TAIL_INDICES:
        estimates, exact = scores(tail_index, num_models, num_samples)
        found[tail_index] = (estimates.value.numpy() - exact, estimates.se.numpy(), estimates.khat.numpy())
    return found


def tables(found: dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, list[list[str]]]:
    """Return the table by true tail index, and that of the same rows by k-hat, each with its header."""
    header = ["rows", "within 2 se, %", "mean error", "median se", "median k-hat"]
    by_truth = [["true k", *header], *(line(f"{k:g}", *values) for k, values in found.items())]
    off, se, khat = (np.concatenate(part) for part in zip(*found.values(), strict=True))
    by_khat = [["k-hat", *header]]
    for low, high in itertools.pairwise(BINS):
        chosen = (khat > low) & (khat <= high)
        if chosen.any():
            name = f"{low:g} to {high:g}" if np.isfinite(low + high) else f"{'above' if high > 1 else 'to'} "
            name += "" if np.isfinite(low + high) else f"{low if high > 1 else high:g}"
            by_khat.append(line(name, off[chosen], se[chosen], khat[chosen]))
    return {"true-k": by_truth, "khat": by_khat}


def bounds(num_models: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `exact log p(x) - L_K` for the K of `CURVE`, means over all rows, and their errors, at true k = 0.5."""
    gaps, errors = [], []
    for seed in range(num_models):
        model, x = drawn(seed)
        curve = iwae_curve(model, NarrowedGuide(model, 0.5), x, CURVE, seed=seed)
        gaps.append(model.to_baseline().score_samples(x.numpy()).mean() - curve.mean.numpy())
        errors.append(curve.monte_carlo_se.numpy())
    return np.mean(gaps, 0), np.sqrt(np.square(errors).sum(0)) / num_models


def draw(found: dict[float, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Any:
    """Return the figure: coverage and k-hat against the true tail index."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    truth = list(found)
    shares = [mean_and_se(100 * (np.abs(off) <= 2 * se)) for off, se, _ in found.values()]
    left.errorbar(truth, *zip(*shares, strict=True), marker="o", capsize=3)
    left.axhline(95.4, color="black", linestyle="--", linewidth=1, label="a normal's 95.4 %")
    left.set(xlabel="true tail index k", ylabel="exact value within 2 se, % of rows", title="Coverage")
    left.legend()
    quartiles = np.array([np.nanquantile(khat, [0.25, 0.5, 0.75]) for *_, khat in found.values()])
    right.fill_between(truth, quartiles[:, 0], quartiles[:, 2], alpha=0.3, label="quartiles over rows")
    right.plot(truth, quartiles[:, 1], marker="o", label="median")
    right.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1, label="k-hat = k")
    right.axhline(0.7, color="gray", linewidth=1)
    right.set(xlabel="true tail index k", ylabel="k-hat", title="What k-hat reports")
    right.legend()
    return figure


def main() -> int:
    """Parse, run the study, print the tables, write the files."""
    arguments: Arguments = parse(Arguments)
    check_integer(arguments.models, "--models")
    check_integer(arguments.num_samples, "--num-samples")
    folder = RunFolder.create(arguments.out, "calibration").path
    found = study(arguments.models, arguments.num_samples)
    gaps, errors = bounds(arguments.models)
    print(
        f"{arguments.models} linear models, {ROWS} rows each, {arguments.num_samples} samples a row; nats per example"
    )
    shown = tables(found)
    print("\n\n".join(format_table(table) for table in shown.values()))
    text = ", ".join(f"K = {k}: {g:.4f} ± {e:.4f}" for k, g, e in zip(CURVE, gaps, errors, strict=True))
    print(f"\nexact log p(x) less the importance weighted bound, true k = 0.5: {text}")
    plots.save(draw(found), folder / "calibration.png")
    write_json(
        folder / "calibration.json",
        {
            "unit": "nats per example",
            "num_samples": arguments.num_samples,
            "tables": shown,
            "rows": {
                str(k): {"error": off.tolist(), "se": se.tolist(), "khat": khat.tolist()}
                for k, (off, se, khat) in found.items()
            },
            "bounds": {"num_samples": list(CURVE), "below_exact": gaps.tolist(), "se": errors.tolist()},
        },
    )
    print(f"written to {folder}")
    return 0


if __name__ == "__main__":
    run_script(main)

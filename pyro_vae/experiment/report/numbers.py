"""The numbers of a report, and how to read each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pyro_vae.experiment.comparison import NAMES
from pyro_vae.experiment.text_table import nats

__all__ = ["compared", "readings", "tiles"]

READINGS = {
    "ELBO": "A lower bound on log p(x), in nats per example; larger is better. It is the reconstruction minus the KL. "
    "Its gap to log p(x) is KL(q(z|x) || p(z|x)), averaged over rows: the error of the guide.",
    "reconstruction": "E[log p(x|z)] with z drawn from the guide, nats per example: how well the decoder explains a "
    "row from its code.",
    "KL": "KL(q(z|x) || p(z)), nats per example: the information in a code beyond the prior. Near 0 the "
    "latents are not used.",
    "± se": "The standard error of a mean over rows. The difference of two numbers of the same rows has a smaller "
    "error than their separate errors suggest.",
    "bits/dim": "Minus log p(x), or a bound on it, in bits per entry of a row. Comparable only between results on "
    "the same data and preprocessing. Smaller is better.",
    "log p(x)": "The log-likelihood by importance sampling with K samples of z. In expectation it is a lower bound, "
    "tighter with more samples. The log of a density depends on the unit of x and may be positive.",
    "k-hat": "The Pareto tail index of a row's importance weights. Above 0.7 the estimate is unreliable: read that "
    "row's log p(x) as a lower bound.",
    "PPCA": "The best linear model with the same number of latents, fitted in closed form; its log p(x) is exact. A "
    "nonlinear model should lie above it.",
    "factor analysis": "As PPCA, with a noise variance for each column; its log p(x) is exact.",
    "principal components": "The best linear autoencoder with codes of the same size, on the same clean rows.",
    "error": "The error of a reconstruction, in the unit that the title names; smaller is better. It is neither log "
    "p(x) nor a bound on it.",
    "squared norm of z": "The mean squared norm of the codes, which a penalty on codes reduces.",
    "accuracy": "The share of rows whose most probable class is their label.",
    "FID": "The distance between the features of samples and of training rows; smaller is better. Compare it with "
    "its floor, the distance between two halves of the training rows.",
    "RMSE": "The root mean squared error of a reconstruction, in data units; not the training objective.",
}
"""Explanation of each number, by its name in the page."""
SIGNS = {
    "FID": ("Fréchet", "FID", "Kernel", "KID"),
    "KL": ('"KL"',),
    "error": ('"error"',),
    "reconstruction": ('"reconstruction"',),
}
"""Words that identify a number if its name does not; a quoted word must be a whole cell."""


def readings(page: str) -> list[tuple[str, str]]:
    """Return explanations of the numbers on a page.

    Args:
        page: The text of the page.
    """
    return [
        (name, text)
        for name, text in READINGS.items()
        if any(sign in page for sign in SIGNS.get(name, (name,)))
    ]


def tiles(summary: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the headline numbers of a report: name, value and description.

    Args:
        summary: The content of `summary.json`.
    """
    return list(_tiles(summary))


def _tiles(summary: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for key, name in {"elbo": "ELBO", "log_likelihood": "log p(x)"}.items():
        number = summary.get(key)
        if number and number["mean"] is not None:
            samples = f", K = {number['num_samples']}" if "num_samples" in number else ""
            yield name, _with_error(number), f"{number['num_examples']} test rows, nats{samples}"
            if key == "elbo" and "bits_per_dim" in number:
                yield "bits/dim", f"{number['bits_per_dim']:.3f}", "bound from the ELBO, test rows"
    error = summary.get("reconstruction_error")
    if error and error["mean"] is not None:
        yield "error", f"{error['mean']:.4g} ± {error['se'] or 0:.2g}", f"{error['num_examples']} test rows"
    for name, value in (summary.get("metrics") or {}).items():
        if value is not None and not name.endswith("_se"):
            yield name, f"{value:.4g}", "at the kept weights"
    if "epochs" in summary:
        kept = f"weights of epoch {summary['best_epoch']}" if summary.get("best_epoch") else ""
        yield "epochs", str(summary["epochs"]), f"{kept}, {summary['train_seconds']:.0f} s"


def compared(summary: Mapping[str, Any]) -> list[list[str]]:
    """Return a table of the model and its baselines on the same test rows, header first; empty without baselines.

    Args:
        summary: The content of `summary.json`.
    """
    rows = []
    for key, name in {"elbo": "this model, ELBO", "log_likelihood": "this model, log p(x) estimated"}.items():
        if summary.get(key):
            rows.append(_compared(name, summary[key]))
    baselines = summary.get("baselines") or {}
    for key, number in baselines.items():
        name = NAMES.get(key, key)
        if "not_fitted" in number:
            rows.append([name, str(number["not_fitted"]), ""])
        else:
            rows.append(_compared(f"{name}, log p(x) exact", number))
    error = summary.get("reconstruction_error") or {}
    if "principal_components" in error:
        rows = [
            [name, f"{one['mean']:.5g} ± {one['se']:.2g}", ""]
            for name, one in {
                "this model, error": error,
                "principal components, error": error["principal_components"],
            }.items()
        ]
    elif not baselines:
        return []
    has_bits = any(row[2] for row in rows)
    header = ["", "test rows", "bits/dim"]
    return [row if has_bits else row[:2] for row in [header, *rows]]


def _compared(name: str, number: Mapping[str, Any]) -> list[str]:
    bits = number.get("bits_per_dim")
    return [name, _with_error(number), "" if bits is None else f"{bits:.3f}"]


def _with_error(number: Mapping[str, Any]) -> str:
    if number["mean"] is None:
        return "not finite"
    error = "" if number["se"] is None else f" ± {nats(number['se'])}"
    return f"{nats(number['mean'])}{error}"

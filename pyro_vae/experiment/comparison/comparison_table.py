"""The table of a comparison, and its files."""

from __future__ import annotations

from pathlib import Path

from pyro_vae import plots
from pyro_vae.data import DataSet
from pyro_vae.experiment.comparison import BOUND, NAMES, Comparison, Entry, LinearVAE
from pyro_vae.experiment.provenance import test_facts
from pyro_vae.experiment.text_table import bits_cells, format_table, likelihood_line, nats
from pyro_vae.storage import write_json

__all__ = ["comparison_table", "write_comparison"]


def comparison_table(comparison: Comparison) -> str:
    """Return the table of a comparison, with an explanation of the linear VAE's gap."""
    dataset, entries = comparison.dataset, comparison.entries.values()
    is_density = dataset.as_density() is dataset
    header = ["model", "value", "test", "± se", "train", "parameters", "iterations", "seconds"]
    header[4:4] = ["bits/dim"] * (dataset.preprocessing.levels is not None)
    names = {"exact": "log p(x)" if is_density else "bound", "ELBO": "ELBO"}
    lines = [
        "",
        f"{dataset.name}, {dataset.description}; latent {comparison.latent_dim}; "
        f"{len(dataset.train)} training and {len(dataset.test)} test rows; nats per example",
        format_table([header, *(_row(entry, names[entry.kind], dataset) for entry in entries)]),
    ]
    lines += [] if is_density else [f"bound: {BOUND}"]
    lines += [f"{entry.name}: {likelihood_line(entry.likelihood)}" for entry in entries if entry.likelihood]
    return "\n".join([*lines, *(_gap_lines(comparison.linear) if comparison.linear else [])])


def _row(entry: Entry, value: str, dataset: DataSet) -> list[str]:
    return [
        entry.name,
        value,
        *map(nats, entry.test),
        *bits_cells(entry.test[0], dataset),
        nats(entry.train),
        str(entry.parameters),
        str(entry.iterations),
        f"{entry.seconds:.3g}",
    ]


def _gap_lines(linear: LinearVAE) -> list[str]:
    return [
        f"The linear VAE's training ELBO is {linear.optimum - linear.entry.train:.3f} nats below the exact optimum "
        f"({linear.optimum:.3f}):",
        f"  {linear.parameter_gap:.3f} because training stopped short of the best parameters, and",
        f"  {linear.posterior_gap:.3f} because its guide is not the exact posterior.",
        f"The leading principal directions lie within {linear.angle:.2f} degrees of its subspace.",
    ]


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write comparison.json and, if there are training paths towards the exact optimum, climbs.png.

    Args:
        folder: Output folder.
        comparison: The fitted models.
    """
    write_json(folder / "comparison.json", test_facts(comparison.dataset) | comparison.summary())
    if comparison.linear is not None:
        climbing = [comparison.entries[key] for key in ("ppca_em", "linear_vae") if key in comparison.entries]
        paths = {entry.name: entry.path for entry in climbing}
        plots.save(plots.climbs(paths, comparison.linear.optimum, NAMES["ppca"]), folder / "climbs.png")

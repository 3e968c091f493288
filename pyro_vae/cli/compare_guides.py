"""Compare guides of one model: the bound and the gaps of each family of posteriors, in nats.

pyro-vae compare-guides --dataset digits --latent-dim 8
pyro-vae compare-guides --run runs/digits-1 --guides diagonal iaf --seeds 0 1 2
"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pyro_vae._checks import check
from pyro_vae.cli.compare_guides_arguments import Arguments, parse_arguments
from pyro_vae.experiment.config import Config
from pyro_vae.progress import quiet


def main() -> int:
    """Parse the arguments, fit and measure the missing guides, print the table and write the files."""
    arguments = parse_arguments()

    from pyro_vae import plots
    from pyro_vae.experiment.comparison.guide_order import check_order
    from pyro_vae.experiment.comparison.guide_scores import score_guides
    from pyro_vae.experiment.comparison.guides_table import guide_rows
    from pyro_vae.experiment.provenance import test_facts
    from pyro_vae.storage import write_json

    config, dataset = _data(arguments)
    folder = _folder(arguments, dataset)
    with quiet(arguments.quiet):
        measured = _measured(arguments, config, dataset, folder)
    scores = score_guides(measured, joint=arguments.joint)
    claims = check_order(measured, joint=arguments.joint)
    print(_table(arguments, config, dataset, scores, claims))
    bars = {s.name: (s.approximation_gap, s.amortization_gap, s.inference_gaps) for s in scores}
    figure: Any = plots.guide_gaps(bars).figure
    plots.save(figure, folder / "gaps.png")
    found = {
        "guides": {s.name: asdict(s) for s in scores},
        "order": [asdict(c) | {"holds": c.holds} for c in claims],
        "tables": {"": guide_rows(scores)},
    }
    write_json(folder / "guides.json", test_facts(dataset) | found)
    print(f"written to {folder}")
    return 0


def _data(arguments: Arguments) -> tuple[Config, Any]:
    """Return the resolved configuration of the guides, and the data."""
    from pyro_vae.experiment.load_data import load_data
    from pyro_vae.experiment.resolve import resolve
    from pyro_vae.experiment.saved_config import saved_config

    if arguments.run is not None:
        config = saved_config(arguments.run)
        _check_likelihood(config)
        return config, load_data(config)
    config = Config(arguments.data, arguments.model, arguments.training)
    _check_likelihood(config)
    dataset = load_data(config)
    _, std = dataset.statistics()
    return resolve(config, dataset, std, "cpu"), dataset


def _check_likelihood(config: Config) -> None:
    """Raise `InputError` for an autoencoder, which has no ELBO to compare guides by."""
    check(
        not config.model.part("guide").is_point,
        "Expected a model with a likelihood, to compare guides by the ELBO; got an autoencoder (--guide point). "
        "Give another run, or another --guide.",
    )


def _folder(arguments: Arguments, dataset: Any) -> Path:
    """Return the output folder, which contains the arguments."""
    from pyro_vae.experiment.config import to_json
    from pyro_vae.experiment.run_folder import RunFolder
    from pyro_vae.experiment.saved_config import absolute
    from pyro_vae.storage import write_json

    folder = arguments.resume
    if folder is None:
        folder = RunFolder.create(arguments.out, f"{Path(dataset.name).stem}-guides").path
    data, run = absolute(Config(arguments.data)).data, arguments.run and arguments.run.absolute()
    kept: Any = replace(arguments, data=data, run=run, resume=None)
    write_json(folder / "arguments.json", to_json(kept))
    print(
        f"Measurements are saved in {folder}; to continue after an interruption: --resume {folder}",
        flush=True,
    )
    return folder


def _measured(arguments: Arguments, config: Config, dataset: Any, folder: Path) -> list[Any]:
    """Return the measurements of all guides, read from the folder if they are there."""
    from pyro_vae.experiment.comparison.guides import MeasuredGuide

    model: Any = None
    measured = []
    for name in arguments.guides:
        for seed in arguments.seeds:
            file = folder / f"{name}-{seed}.npz"
            if not file.exists():
                if model is None and not arguments.joint:
                    model = _model(arguments, config, dataset, folder)
                _measure(arguments, config, dataset, model, name, seed).save(file)
            measured.append(MeasuredGuide.load(file))
    return measured


def _measure(arguments: Arguments, config: Config, dataset: Any, model: Any, name: str, seed: int) -> Any:
    """Fit one guide and measure it."""
    from pyro_vae.evaluate.gaps import RowFit
    from pyro_vae.evenly_spaced import evenly_spaced_rows
    from pyro_vae.experiment.comparison.guides import fit_guides, measure_guide

    epochs = arguments.guide_epochs or config.training.epochs
    config = replace(config, training=replace(config.training, epochs=epochs))
    print(f"Fitting {name}, seed {seed} ...", flush=True)
    (fitted,) = fit_guides(config, dataset, [name], [seed], model, progress=True)
    print("Measuring ...", flush=True)
    test, train = dataset.test.tensor(), dataset.train.tensor()
    x = test[evenly_spaced_rows(len(test), arguments.test_rows or len(test))]
    return measure_guide(
        fitted,
        x,
        train[evenly_spaced_rows(len(train), len(x))],
        num_samples=arguments.num_samples,
        gap_rows=arguments.gap_rows,
        row_fit=RowFit(arguments.gap_steps),
        progress=True,
    )


def _model(arguments: Arguments, config: Config, dataset: Any, folder: Path) -> Any:
    """Return the fixed model: that of the run, of the folder, or a newly trained one."""
    from pyro_vae.experiment.checkpoint import load_weights, save_weights
    from pyro_vae.experiment.load_run import load_run
    from pyro_vae.experiment.prepare import prepare

    if arguments.run is not None:
        return load_run(arguments.run).model
    prepared = prepare(config, dataset)
    model, guide = prepared.model, prepared.guide
    weights = folder / "model.safetensors"
    if weights.exists():
        load_weights(weights, model, guide)
        return model.eval()
    print("Training the model ...", flush=True)
    prepared.fit()
    save_weights(weights, model.cpu(), guide.cpu())
    return model


def _table(arguments: Arguments, config: Config, dataset: Any, scores: list[Any], claims: list[Any]) -> str:
    from pyro_vae.experiment.comparison.guides_table import guide_rows, order_lines
    from pyro_vae.experiment.text_table import format_table

    kept = "one model per guide" if arguments.joint else "one fixed model"
    num_rows = arguments.test_rows or len(dataset.test)
    epochs = arguments.guide_epochs or config.training.epochs
    return "\n".join(
        [
            f"{dataset.name}, {min(num_rows, len(dataset.test))} test rows, {kept}, {epochs} epochs, "
            f"{len(arguments.seeds)} seed(s); nats per example, {dataset.description}",
            format_table(guide_rows(scores)),
            f"± is one standard error over rows and seeds; gain is the paired difference from {scores[0].name}. "
            f"log p(x) by importance sampling, {arguments.num_samples} samples; gaps on "
            f"{min(arguments.gap_rows, num_rows)} rows, from the largest log p(x) found.",
            *order_lines(claims),
        ]
    )

"""Keep a model and change its guide: what each family of posteriors is worth, in nats.

pyro-vae compare-guides --dataset digits --latent-dim 8
pyro-vae compare-guides --run runs/digits-1 --guides diagonal iaf --seeds 0 1 2
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae._command_line import parse
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig, TrainingConfig
from pyro_vae.progress import quiet

ComparedName = Literal[
    "diagonal", "full-covariance", "low-rank", "mixture", "iaf", "spline", "semi-amortized"
]


@dataclass(frozen=True)
class Arguments:
    """Fit guides of several families to one fixed model; print their bounds and where their gaps come from."""

    run: Path | None = None
    """Folder of a trained run: its data, its settings, its model. Where not given, a model is trained first."""
    joint: bool = False
    """Train every guide together with a model of its own, instead of keeping one model fixed."""
    guides: tuple[ComparedName, ...] = ("diagonal", "full-covariance", "low-rank", "mixture", "iaf")
    """Families: diagonal, full-covariance and low-rank normals, mixture of four diagonal normals, iaf and spline
    flows, and semi-amortized, which climbs a few steps for each row. Gains are counted from the first."""
    seeds: tuple[int, ...] = (0,)
    """One fit of each family for each seed."""
    guide_epochs: int | None = None
    """Epochs of each guide; those of the model's own training where not given."""
    test_rows: int | None = None
    """Test rows that are measured, evenly spaced; all where not given."""
    num_samples: int = 1000
    """Samples of z for each test row, for bounds and log p(x)."""
    gap_rows: int = 100
    """Test rows for which the best member of each family is searched."""
    gap_steps: int = 300
    """Steps of that search."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    out: Path | None = None
    """Folder for guides.json, gaps.png and what is measured of each guide; a new numbered folder under runs/ where
    not given."""
    quiet: bool = False
    """Show no progress bars."""
    resume: Path | None = None
    """Folder of a comparison to go on with: what it has measured is kept, its settings are the default, and --guides
    and --seeds may change."""

    def check(self) -> None:
        """Check what needs no data."""
        check(len(self.guides) > 0, "Expected at least one of --guides; got none.")
        check(len(self.seeds) > 0, "Expected at least one of --seeds; got none.")
        for seed in self.seeds:
            check_integer(seed, "every one of --seeds", minimum=0)
        for name, number in (
            ("--num-samples", self.num_samples),
            ("--gap-rows", self.gap_rows),
            ("--test-rows", self.test_rows),
        ):
            if number is not None:
                check_integer(number, name, minimum=2)
        check_integer(self.gap_steps, "--gap-steps")
        if self.guide_epochs is not None:
            check_integer(self.guide_epochs, "--guide-epochs")
        Config(self.data, self.model, self.training).check()


def main() -> int:
    """Parse, fit and measure what is not measured yet, print the table, write the files."""
    arguments = _parse()

    from pyro_vae import plots
    from pyro_vae.experiment.comparison.guide_scores import check_order, score_guides
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
        "tables": {"": _rows(scores)},
    }
    write_json(folder / "guides.json", test_facts(dataset) | found)
    print(f"written to {folder}")
    return 0


def _parse() -> Arguments:
    """Parse the command line; with `--resume` the saved arguments are the default."""
    arguments: Arguments = parse(Arguments)
    if arguments.resume is not None:
        saved = _saved(arguments.resume)
        arguments = parse(Arguments, default=saved)
        kept = replace(arguments, guides=saved.guides, seeds=saved.seeds, quiet=saved.quiet)
        check(
            kept == saved,
            f"Expected the settings of the comparison in {arguments.resume}, where only --guides and --seeds may "
            "change; others were given. Leave them out, or start a new comparison without --resume.",
        )
    arguments.check()
    return arguments


def _saved(folder: Path) -> Arguments:
    """Return the arguments of a comparison, ready to go on with it."""
    import json

    from pyro_vae.experiment.config import from_json

    try:
        values = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
        parts = {name: values.pop(name) for name in ("data", "model", "training")}
        config = from_json(parts | {"run": {}})
        paths = {name: Path(values[name]) if values[name] else None for name in ("run", "out")}
        lists = {name: tuple(values[name]) for name in ("guides", "seeds")}
        given = values | paths | lists | {"resume": folder}
        return Arguments(**given, data=config.data, model=config.model, training=config.training)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected the folder of a comparison for --resume; there are no arguments.json in {folder} that read as "
            f"such ({type(error).__name__}). Give the folder's path."
        ) from None


def _data(arguments: Arguments) -> tuple[Config, Any]:
    """Return the configuration of the guides, with all choices made, and the data."""
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
    """Raise for an autoencoder, whose model gives no ELBO to compare guides by."""
    check(
        not config.model.part("guide").is_point,
        "Expected a model with a likelihood, by whose ELBO guides are compared; got an autoencoder (--guide point). "
        "Give another run, or another --guide.",
    )


def _folder(arguments: Arguments, dataset: Any) -> Path:
    """Return the folder to write to, with the arguments in it."""
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
    print(f"What is measured is kept in {folder}; after an interruption: --resume {folder}", flush=True)
    return folder


def _measured(arguments: Arguments, config: Config, dataset: Any, folder: Path) -> list[Any]:
    """Return the measurements of all guides, those that the folder holds from there."""
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
    """Return the model to keep fixed: the run's, the folder's, or one trained now."""
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


def _rows(scores: list[Any]) -> list[list[str]]:
    """Return the table of the guides, its header first."""
    header = ["ELBO", "gain", "train ELBO", "log p(x)", "k-hat > 0.7", "approximation", "amortization"]
    rows = [
        [
            score.name,
            f"{score.elbo.value:.2f} ± {score.elbo.se:.2f}",
            f"{score.gain.value:+.3f} ± {score.gain.se:.3f}",
            f"{score.train_elbo.value:.2f} ± {score.train_elbo.se:.2f}",
            f"{score.log_likelihood.value:.2f} ± {score.log_likelihood.se:.2f}",
            f"{score.unreliable:.0%}",
            str(score.approximation_gap),
            str(score.amortization_gap),
            str(score.parameters),
            f"{score.seconds:.3g}",
        ]
        for score in scores
    ]
    return [["guide", *header, "parameters", "seconds"], *rows]


def _table(arguments: Arguments, config: Config, dataset: Any, scores: list[Any], claims: list[Any]) -> str:
    from pyro_vae.experiment.text_table import format_table

    kept = "a model of its own for each guide" if arguments.joint else "one fixed model"
    num_rows = arguments.test_rows or len(dataset.test)
    epochs = arguments.guide_epochs or config.training.epochs
    return "\n".join(
        [
            f"{dataset.name}, {min(num_rows, len(dataset.test))} test rows, {kept}, {epochs} epochs, "
            f"{len(arguments.seeds)} seed(s); nats per example, {dataset.description}",
            format_table(_rows(scores)),
            f"± is one standard error over rows and seeds; gain is the paired difference from {scores[0].name}. "
            f"log p(x) by importance sampling, {arguments.num_samples} samples; gaps on "
            f"{min(arguments.gap_rows, num_rows)} rows, from the largest log p(x) found.",
            *_verdict(claims),
        ]
    )


def _verdict(claims: list[Any]) -> list[str]:
    """Return whether the order is as it must be, and a sentence on each place where it is not."""
    held = sum(claim.holds for claim in claims)
    told = (
        f"Order: {held} of {len(claims)} inequalities hold within two standard errors (a richer guide is not below a "
        "poorer one that it contains, a row's best not below its guide, nothing above log p(x))."
    )
    return [told, *(f"  violated: {claim}" for claim in claims if not claim.holds)]

"""Keep a model and change its guide: what each family of posteriors is worth, in nats.

python scripts/compare_guides.py --dataset digits --latent-dim 8
python scripts/compare_guides.py --run runs/digits-1 --guides diagonal iaf --seeds 0 1 2
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from pyro_vae._checks import check, check_integer
from pyro_vae._environment import calm_threads, run_script
from pyro_vae.config import Config, DataConfig, ModelConfig, TrainingConfig

calm_threads()

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
    """Folder for guides.json and gaps.png; a new numbered folder under runs/ where not given."""

    def check(self) -> None:
        """Check what needs no data."""
        check(len(self.guides) > 0, "Expected at least one of --guides; got none.")
        check(len(self.seeds) > 0, "Expected at least one of --seeds; got none.")
        for seed in self.seeds:
            check_integer(seed, "every one of --seeds", minimum=0)
        for name, number in (("--num-samples", self.num_samples), ("--gap-rows", self.gap_rows)):
            check_integer(number, name, minimum=2)
        check_integer(self.gap_steps, "--gap-steps")
        if self.guide_epochs is not None:
            check_integer(self.guide_epochs, "--guide-epochs")
        Config(self.data, self.model, self.training).check()


def main() -> int:
    """Parse, fit everything, print the table, write the files."""
    flat: Any = Annotated[Arguments, tyro.conf.OmitArgPrefixes]
    arguments: Arguments = tyro.cli(flat)
    arguments.check()

    from pyro_vae import plots
    from pyro_vae.checkpoint import write_json
    from pyro_vae.comparison.guides import fit_guides, score_guides
    from pyro_vae.gaps import RowFit
    from pyro_vae.report import test_facts
    from pyro_vae.runs import RunFolder

    config, dataset = _data(arguments)
    folder = RunFolder.create(arguments.out, f"{Path(dataset.name).stem}-guides").path
    model = None if arguments.joint else _model(arguments, config, dataset)
    epochs = arguments.guide_epochs or config.training.epochs
    config = replace(config, training=replace(config.training, epochs=epochs))
    fitted = []
    for name in arguments.guides:
        print(f"Fitting {name} ...", flush=True)
        fitted += fit_guides(config, dataset, [name], arguments.seeds, model)
    print("Measuring ...", flush=True)
    scores = score_guides(
        fitted,
        dataset.test.tensor(),
        num_samples=arguments.num_samples,
        gap_rows=arguments.gap_rows,
        row_fit=RowFit(arguments.gap_steps),
    )
    print(_table(dataset, scores, arguments))
    gaps = {score.name: (score.approximation_gap, score.amortization_gap) for score in scores}
    figure: Any = plots.guide_gaps(gaps).figure
    plots.save(figure, folder / "gaps.png")
    write_json(folder / "guides.json", test_facts(dataset) | {"guides": {s.name: asdict(s) for s in scores}})
    print(f"written to {folder}")
    return 0


def _data(arguments: Arguments) -> tuple[Config, Any]:
    """Return the configuration, with all choices made, and the data."""
    from pyro_vae.building import resolve
    from pyro_vae.runs import load_data, saved_config

    if arguments.run is not None:
        config = saved_config(arguments.run)
        return config, load_data(config)
    config = Config(arguments.data, arguments.model, arguments.training)
    dataset = load_data(config)
    _, std = dataset.statistics()
    return resolve(config, dataset, std, "cpu"), dataset


def _model(arguments: Arguments, config: Config, dataset: Any) -> Any:
    """Return the model to keep fixed: the run's, or one trained now."""
    from pyro_vae.building import build, fit_settings, starting_rows
    from pyro_vae.runs import load_run
    from pyro_vae.training import fit

    if arguments.run is not None:
        return load_run(arguments.run).model
    print("Training the model ...", flush=True)
    rows = starting_rows(config.model, dataset.train)
    mean, std = dataset.statistics()
    model, guide = build(config.model, mean, std, config.training.seed, rows)
    fit(model, guide, dataset.train, dataset.validation, **fit_settings(config.training))
    return model


def _table(dataset: Any, scores: list[Any], arguments: Arguments) -> str:
    from pyro_vae.report import format_table

    header = ["guide", "ELBO", "gain", "log p(x)", "k-hat > 0.7", "approximation", "amortization"]
    rows = [
        [
            score.name,
            f"{score.elbo[0]:.2f} ± {score.elbo[1]:.2f}",
            f"{score.gain[0]:+.3f} ± {score.gain[1]:.3f}",
            f"{score.log_likelihood[0]:.2f} ± {score.log_likelihood[1]:.2f}",
            f"{score.unreliable:.0%}",
            f"{score.approximation_gap[0]:.3f} ± {score.approximation_gap[1]:.3f}",
            f"{score.amortization_gap[0]:.3f} ± {score.amortization_gap[1]:.3f}",
            str(score.parameters),
            f"{score.seconds:.3g}",
        ]
        for score in scores
    ]
    kept = "a model of its own for each guide" if arguments.joint else "one fixed model"
    return "\n".join(
        [
            f"{dataset.name}, {len(dataset.test)} test rows, {kept}, {len(arguments.seeds)} seed(s); nats per example, "
            f"{dataset.preprocessing.description}",
            format_table([[*header, "parameters", "seconds"], *rows]),
            f"± is one standard error over rows; gain is the rows' difference from {scores[0].name}. log p(x) by "
            f"importance sampling, {arguments.num_samples} samples; gaps on "
            f"{min(arguments.gap_rows, len(dataset.test))} rows, from the largest log p(x) found.",
        ]
    )


if __name__ == "__main__":
    run_script(main)

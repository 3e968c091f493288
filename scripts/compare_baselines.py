"""Compare exact linear models with variational autoencoders on one data set, in one unit.

python scripts/compare_baselines.py --dataset digits --latent-dim 8
python scripts/compare_baselines.py --dataset mnist --latent-dim 20 --out comparison
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from pyro_vae._checks import InputError, check, check_integer, check_positive
from pyro_vae._environment import calm_threads, run_script
from pyro_vae.config import Config, DataConfig, ModelConfig, RunConfig, TrainingConfig

calm_threads()


@dataclass(frozen=True)
class Comparison:
    """Fit PPCA (closed form and EM), factor analysis, a mixture of PPCA, a linear and a nonlinear VAE."""

    data: DataConfig = field(default_factory=DataConfig)
    latent_dim: int = 8
    """Size of z in every model; for the mixture, in each local model."""
    clusters: int = 10
    """Local models of the mixture of PPCA."""
    hidden: tuple[int, ...] = (400, 400)
    """Widths of the nonlinear VAE's hidden layers."""
    epochs: int | None = None
    """Epochs of the nonlinear VAE; chosen from the data where not given."""
    linear_epochs: int | None = None
    """Epochs of the linear VAE; chosen from the data where not given."""
    linear_lr: float = 1e-2
    """Peak learning rate of the linear VAE."""
    batch_size: int = 128
    """Rows a step."""
    seed: int = 0
    """Of weights, starts and noise."""
    out: Path | None = None
    """Folder for comparison.json and climbs.png; a new numbered folder under runs/ where not given."""

    def config(self) -> Config:
        """Return the nonlinear VAE's configuration, checked."""
        check_integer(self.clusters, "--clusters")
        check_positive(self.linear_lr, "--linear-lr")
        if self.linear_epochs is not None:
            check_integer(self.linear_epochs, "--linear-epochs")
        model = ModelConfig(latent_dim=self.latent_dim, hidden=self.hidden)
        training = TrainingConfig(
            epochs=self.epochs, batch_size=self.batch_size, seed=self.seed, device="cpu"
        )
        config = Config(self.data, model, training, RunConfig(out=self.out))
        config.check()
        return config


def main() -> int:
    """Parse, fit everything, print the table, write the files."""
    flat: Any = Annotated[Comparison, tyro.conf.OmitArgPrefixes]
    comparison: Comparison = tyro.cli(flat)
    config = comparison.config()

    from pyro_vae import plots
    from pyro_vae.building import default_epochs
    from pyro_vae.checkpoint import write_json
    from pyro_vae.comparison import Entry, exact_baselines, fit_baseline, fit_linear_vae, fit_vae
    from pyro_vae.report import comparison_table
    from pyro_vae.runs import RunFolder, load_data

    dataset = load_data(config)
    train, test = dataset.train.tensor(), dataset.test.tensor()
    rows = [split.double().numpy() for split in (train, test)]
    check(
        comparison.latent_dim < dataset.data_dim,
        f"Expected --latent-dim below the {dataset.data_dim} columns of the data, or PPCA has no noise left; "
        f"got {comparison.latent_dim}.",
    )
    folder = RunFolder.create(comparison.out, f"{Path(dataset.name).stem}-comparison").path
    entries: dict[str, Entry] = {}
    for key, (name, estimator) in exact_baselines(
        config.model.latent_dim, comparison.clusters, comparison.seed
    ).items():
        print(f"Fitting {name} ...", flush=True)
        try:
            entries[key] = fit_baseline(estimator, name, *rows)
        except InputError as error:
            print(f"  left out: {error}")
    print("Training the linear VAE ...", flush=True)
    linear = fit_linear_vae(
        train,
        test,
        config.model.latent_dim,
        epochs=comparison.linear_epochs or default_epochs(len(train), comparison.batch_size),
        batch_size=comparison.batch_size,
        lr=comparison.linear_lr,
        seed=comparison.seed,
    )
    print("Training the nonlinear VAE ...", flush=True)
    entries |= {"linear_vae": linear.entry, "vae": fit_vae(config, dataset)}

    print(comparison_table(dataset, config.model.latent_dim, entries, linear))
    climbing = {entries[key].name: entries[key].path for key in ("ppca_em", "linear_vae") if key in entries}
    figure = plots.climbs(climbing, linear.optimum, "PPCA, closed form")
    plots.save(figure, folder / "climbs.png")
    write_json(folder / "comparison.json", comparison_summary(dataset, entries, linear))
    print(f"written to {folder}")
    return 0


def comparison_summary(dataset: Any, entries: dict[str, Any], linear: Any) -> dict[str, Any]:
    """Return the comparison as plain values."""
    from dataclasses import asdict

    from pyro_vae.report import test_facts

    return test_facts(dataset) | {
        "entries": {key: asdict(entry) for key, entry in entries.items()},
        "linear_vae_gap": {"parameters": linear.parameter_gap, "posterior": linear.posterior_gap},
    }


if __name__ == "__main__":
    run_script(main)

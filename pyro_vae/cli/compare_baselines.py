"""Compare exact linear models with variational autoencoders on one data set, in one unit.

pyro-vae compare-baselines --dataset digits --latent-dim 8
pyro-vae compare-baselines --dataset mnist --latent-dim 20 --out comparison
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

from pyro_vae._checks import check_integer, check_positive
from pyro_vae._command_line import parse
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig, RunConfig, TrainingConfig
from pyro_vae.progress import quiet

ModelName = Literal["ppca", "ppca_em", "factor_analysis", "mixture_of_ppca", "linear_vae", "vae"]
LikelihoodName = Literal[
    "gaussian",
    "laplace",
    "student-t",
    "continuous-bernoulli",
    "categorical",
    "discretized-logistic",
    "logistic-mixture",
]


@dataclass(frozen=True)
class Arguments:
    """Fit PPCA (closed form and EM), factor analysis, a mixture of PPCA, a linear and a nonlinear VAE."""

    data: DataConfig = field(default_factory=DataConfig)
    models: tuple[ModelName, ...] = get_args(ModelName)
    """Models to fit."""
    train_rows: int | None = None
    """Number of training rows, the first ones of the split; all if not given."""
    latent_dim: int = 8
    """Size of z in every model; for the mixture, in each local model."""
    clusters: int = 10
    """Number of local models of the mixture of PPCA."""
    likelihood: LikelihoodName = "gaussian"
    """Likelihood of the nonlinear VAE. If it is one of integers, the other models are fitted to dequantized x, and
    their values are bounds on the log-probability of the integers."""
    hidden: tuple[int, ...] = (400, 400)
    """Widths of the nonlinear VAE's hidden layers."""
    epochs: int | None = None
    """Epochs of the nonlinear VAE; chosen from the data if not given."""
    linear_epochs: int | None = None
    """Epochs of the linear VAE; chosen from the data if not given."""
    linear_lr: float = 1e-2
    """Peak learning rate of the linear VAE."""
    linear_batch_size: int = 128
    """Batch size of the linear VAE."""
    batch_size: int = 128
    """Batch size of the nonlinear VAE."""
    seed: int = 0
    """Seed of weights, initial values and noise."""
    out: Path | None = None
    """Folder for comparison.json and climbs.png; a new numbered folder under runs/ if not given."""
    quiet: bool = False
    """Show no progress bars."""

    def config(self) -> Config:
        """Return the nonlinear VAE's configuration, checked."""
        check_integer(self.clusters, "--clusters")
        check_positive(self.linear_lr, "--linear-lr")
        check_integer(self.linear_batch_size, "--linear-batch-size")
        for name, number in (("--linear-epochs", self.linear_epochs), ("--train-rows", self.train_rows)):
            if number is not None:
                check_integer(number, name)
        model = ModelConfig(likelihood=self.likelihood, latent_dim=self.latent_dim, hidden=self.hidden)
        training = TrainingConfig(
            epochs=self.epochs, batch_size=self.batch_size, seed=self.seed, device="cpu"
        )
        config = Config(self.data, model, training, RunConfig(out=self.out))
        config.check()
        return config


def main() -> int:
    """Parse, fit everything, print the table, write the files."""
    arguments: Arguments = parse(Arguments)
    config = arguments.config()

    from pyro_vae.experiment.comparison import compare
    from pyro_vae.experiment.comparison.comparison_table import comparison_table, write_comparison
    from pyro_vae.experiment.load_data import load_data
    from pyro_vae.experiment.resolve import default_epochs
    from pyro_vae.experiment.run_folder import RunFolder

    dataset = load_data(config)
    if arguments.train_rows is not None:
        dataset = replace(dataset, train=dataset.train.head(arguments.train_rows))
    folder = RunFolder.create(arguments.out, f"{Path(dataset.name).stem}-comparison").path
    batch_size = arguments.linear_batch_size
    linear_settings = {
        "epochs": arguments.linear_epochs or default_epochs(len(dataset.train), batch_size),
        "batch_size": batch_size,
        "lr": arguments.linear_lr,
    }
    with quiet(arguments.quiet):
        comparison = compare(
            config,
            dataset,
            arguments.models,
            num_clusters=arguments.clusters,
            linear_settings=linear_settings,
        )
    print(comparison_table(comparison))
    write_comparison(folder, comparison)
    print(f"written to {folder}")
    return 0

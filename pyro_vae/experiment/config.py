"""An experiment by name: dataclasses that become the command line and the saved configuration.

Nothing heavy is imported here, so that `--help` answers at once. The choices in the types are literals; a
test holds them equal to the registries of the modules that implement them.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pyro_vae._checks import InputError, check, check_choice, check_integer, check_positive

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "TrainingConfig",
    "from_json",
    "to_json",
]

LikelihoodName = Literal[
    "gaussian", "gaussian-shared", "gaussian-isotropic", "gaussian-fixed", "laplace", "bernoulli"
]
ActivationName = Literal["relu", "tanh", "softplus", "elu", "gelu", "silu", "glu"]
GuideName = Literal["diagonal", "full-covariance", "low-rank", "mixture", "iaf", "spline"]
PriorName = Literal["standard-normal", "diagonal-normal", "mixture", "vampprior", "flow"]
ObjectiveName = Literal["elbo", "analytic-elbo", "stl", "iwae", "dreg", "renyi", "wake-sleep"]

OBJECTIVE_SETTINGS: dict[str, tuple[str, ...]] = {
    "elbo": ("beta", "kl_warmup", "free_bits"),
    "analytic-elbo": ("beta", "kl_warmup", "free_bits"),
    "stl": ("beta", "kl_warmup", "free_bits"),
    "renyi": ("alpha",),
}
"""Which settings of its own an objective takes; the others take none."""
MULTI_SAMPLE = ("iwae", "dreg", "renyi", "wake-sleep")
"""Objectives that say nothing of their own with one sample of z."""
DEFAULT_COMPONENTS = {"mixture": 10, "vampprior": 500}
"""Components of the priors that have some."""

LARGEST_SIZE = 10**9
"""The bytes of a matrix of this size can still be counted in 63 bits, so that memory decides."""
SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e30
"""float32 holds them with room to spare; beyond, a scale becomes zero or infinite."""


@dataclass(frozen=True)
class DataConfig:
    """Which rows, and how they become x."""

    dataset: str = "digits"
    """digits, mnist, fashion-mnist, binarized-mnist, frey-face, or a path to your own: a .npy, .npz, .csv
    (with a header) or .amat file, or a folder of images."""
    data_root: Path | None = None
    """Folder that holds the data sets by name; PYRO_VAE_DATA where it is set, else ./data."""
    binarize: Literal["none", "static", "dynamic"] = "none"
    """For a binary likelihood on grey data: draw each pixel once (static) or anew each epoch (dynamic)."""
    dequantize: Literal["auto", "none"] = "auto"
    """For a continuous likelihood on whole numbers: add uniform noise (auto), or scale as they are (none)."""


@dataclass(frozen=True)
class ModelConfig:
    """The generative model and the guide."""

    likelihood: LikelihoodName = "gaussian"
    """p(x | z): gaussian has a location and a scale for each column, both from z; gaussian-shared one scale a
    column; gaussian-isotropic one scale; gaussian-fixed a given one; laplace is L1; bernoulli is for 0 and 1."""
    guide: GuideName = "diagonal"
    """q(z | x): diagonal is a normal with a variance for each dimension; full-covariance a normal with all
    covariances; low-rank with some; mixture is of four diagonal normals; iaf bends the diagonal one by an inverse
    autoregressive flow, spline by an autoregressive spline flow."""
    prior: PriorName = "standard-normal"
    """p(z): standard-normal is fixed; diagonal-normal learns a location and a scale for each dimension; mixture
    learns a mixture of normals; vampprior is the guide's posterior averaged over learned rows; flow learns an
    autoregressive flow."""
    prior_components: int | None = None
    """How many normals (of mixture) or learned rows (of vampprior) make up p(z); 10 and 500 where not given."""
    latent_dim: int = 16
    """Size of z."""
    hidden: tuple[int, ...] = (400, 400)
    """Widths of the encoder's hidden layers; the decoder has them in reverse."""
    activation: ActivationName = "silu"
    """Between the layers; glu, the gated linear unit, has twice the weights in every hidden layer."""
    dropout: float = 0.0
    """Share of x's columns that the encoder does not see in each step of training, against overfitting."""
    precision: Literal["fp32", "bf16", "auto"] = "fp32"
    """Of the networks' matrix products in training; auto takes bf16 where the processor has instructions for it and
    the networks are wide enough to gain. Densities, weights and all evaluation are in fp32."""
    scale_floor: float | None = None
    """Smallest standard deviation of a column of x given z, in data units; chosen from the data where not given, and
    printed."""
    fixed_scale: float | None = None
    """The scale of gaussian-fixed, in data units; chosen from the data where not given, and printed."""


@dataclass(frozen=True)
class TrainingConfig:
    """Stochastic variational inference."""

    epochs: int | None = None
    """Passes over the training rows. Where not given, at most as many as make 5000 steps, between 20 and 1000: training
    then ends early where it no longer gains (see --patience)."""
    batch_size: int = 128
    """Rows a step."""
    lr: float = 1e-3
    """Peak learning rate of Adam."""
    schedule: Literal["auto", "cosine", "constant", "cooldown"] = "auto"
    """Learning rate over time: cooldown is constant for the first half of all steps, then falls linearly to 0. auto is
    cosine where --epochs is given, and cooldown, which suits an early end, where it is not."""
    weight_decay: float = 0.0
    """Decoupled weight decay (AdamW), for long training on few rows."""
    warmup: float = 0.0
    """Share of all steps in which the learning rate rises to its peak."""
    average: float | Literal["auto"] = "auto"
    """Validate and keep the mean of the weights over the last AVERAGE of the steps so far, such as 0.05; 0 for none.
    Takes most of the noise out that steps at a high rate leave in them. auto is 0 where --epochs is given, and 0.05
    where it is not."""
    clip_norm: float | None = None
    """Largest norm of the gradient; not clipped where not given."""
    patience: int | Literal["auto", "none"] = "auto"
    """Epochs without a better one, by the number that --keep compares epochs by, after which training ends. auto is
    none where --epochs is given, and an eighth of the epochs, at least 10, where it is not."""
    keep: Literal["auto", "best-elbo", "best-loss", "last"] = "auto"
    """Which epoch's weights are kept: the one with the largest validation ELBO, the one with the smallest validation
    loss, or the last. auto is best-elbo where the loss is minus the ELBO, and best-loss where it is something else, as
    with --beta, --free-bits or several samples."""
    objective: ObjectiveName = "elbo"
    """What training climbs; the ELBO of the validation rows is measured whatever it is. elbo samples it; analytic-elbo
    has its divergence in closed form where there is one; stl leaves out the part of its gradient that is noise alone
    (sticking the landing); iwae is the importance weighted bound of several samples, dreg the same with a gradient for
    the guide that keeps its signal; renyi lies between elbo and iwae; wake-sleep lets the guide learn by its own
    divergence."""
    num_particles: int = 1
    """Samples of z for each row and step; iwae, dreg, renyi and wake-sleep want several."""
    beta: float = 1.0
    """Weight of the divergence from the prior in the training loss, of elbo, analytic-elbo and stl."""
    kl_warmup: float = 0.0
    """Share of all steps in which that weight rises from 0."""
    free_bits: float = 0.0
    """Nats of each dimension's divergence that the training loss does not ask to lower."""
    alpha: float = 0.5
    """Order of renyi: 0 is iwae, 1 is elbo."""
    seed: int = 0
    """Of the first weights, the order of the rows and all noise of training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Trace and compile loss and gradients, which takes 10 to 20 s and makes each step several times as fast; auto
    does so where the run is long enough to repay it."""


@dataclass(frozen=True)
class RunConfig:
    """Where the run is kept."""

    out: Path | None = None
    """Folder of the run, which must not hold one yet; a new numbered folder under runs/ where not given."""
    resume: Path | None = None
    """Folder of a run to go on with; its configuration is the default, and --epochs, --patience, --device, --out may
    change."""
    start: Path | None = None
    """Folder of a run whose weights a new run of the same networks starts from, as under another objective; from fresh
    ones where not given."""
    checkpoint_seconds: float = 30.0
    """Time between two checkpoints; one is always written when training stops."""
    evaluate: Literal["auto", "full", "quick", "none"] = "auto"
    """What follows training: full estimates the ELBO of all rows and log p(x) of 1000 test rows, and fits linear
    baselines; quick does the former two for fewer, evenly spaced rows; none trains only. auto is full, and quick where
    rows x samples x weights are more than 1e13."""
    quiet: bool = False
    """Show no progress bars."""


@dataclass(frozen=True)
class Config:
    """Train a variational autoencoder, written as a Pyro model and guide, by stochastic variational inference."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """Check every value that needs no data.

        Raises:
            InputError: On the first value that cannot be used.
        """
        model, training = self.model, self.training
        check(
            len(model.hidden) > 0,
            "Expected --hidden with at least one width, such as --hidden 400 400; got none.",
        )
        for width in model.hidden:
            check_integer(width, "every width of --hidden", maximum=LARGEST_SIZE)
        check_integer(model.latent_dim, "--latent-dim", maximum=LARGEST_SIZE)
        self._check_families()
        self._check_objective()
        check_integer(training.batch_size, "--batch-size", maximum=LARGEST_SIZE)
        check_integer(training.num_particles, "--num-particles", maximum=LARGEST_SIZE)
        check_integer(training.seed, "--seed", minimum=0)
        check_positive(training.lr, "--lr")
        check(
            0 <= model.dropout < 1,
            f"Expected --dropout in [0, 1), a share of the columns; got {model.dropout}.",
        )
        check_positive(training.weight_decay, "--weight-decay", zero=True)
        check_positive(self.run.checkpoint_seconds, "--checkpoint-seconds", zero=True)
        check(
            0 <= training.warmup < 1,
            f"Expected --warmup in [0, 1), a share of all steps; got {training.warmup}.",
        )
        check(
            training.average == "auto" or 0 <= training.average <= 1,
            f"Expected --average in [0, 1], a share of the steps so far; got {training.average}.",
        )
        if training.epochs is not None:
            check_integer(training.epochs, "--epochs")
        if training.patience not in ("auto", "none"):
            check_integer(training.patience, "--patience")
        for name, number in (
            ("--clip-norm", training.clip_norm),
            ("--scale-floor", model.scale_floor),
            ("--fixed-scale", model.fixed_scale),
        ):
            if number is not None:
                check_positive(number, name)
                check(
                    SMALLEST_SCALE <= number <= LARGEST_SCALE,
                    f"Expected {name} from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}; got {number:g}.",
                )

    def _check_families(self) -> None:
        model = self.model
        for flag, name in (("--guide", model.guide), ("--prior", model.prior)):
            check(
                model.latent_dim > 1 or name not in ("iaf", "spline", "flow"),
                f"Expected --latent-dim of at least 2 with {flag} {name}, whose dimensions look at one another; got 1.",
            )
        if model.prior_components is not None:
            check_integer(model.prior_components, "--prior-components", maximum=LARGEST_SIZE)
            check(
                model.prior in DEFAULT_COMPONENTS,
                f"Expected no --prior-components with --prior {model.prior}, which has none. Leave it out.",
            )

    def _check_objective(self) -> None:
        training = self.training
        name = training.objective
        check_positive(training.beta, "--beta", zero=True)
        check_positive(training.free_bits, "--free-bits", zero=True)
        check(
            0 <= training.kl_warmup <= 1,
            f"Expected --kl-warmup in [0, 1], a share of all steps; got {training.kl_warmup}.",
        )
        check(math.isfinite(training.alpha), f"Expected --alpha to be a finite number; got {training.alpha}.")
        for setting in ("beta", "kl_warmup", "free_bits", "alpha"):
            given = getattr(training, setting)
            check(
                setting in OBJECTIVE_SETTINGS.get(name, ()) or given == getattr(TrainingConfig, setting),
                f"Expected no --{setting.replace('_', '-')} with --objective {name}, which does not use one; got "
                f"{given}. Leave it out.",
            )
        check(
            training.num_particles > 1 or name not in MULTI_SAMPLE,
            f"Expected --num-particles of at least 2 with --objective {name}, which weighs samples against one "
            "another; got 1.",
        )


def to_json(config: Config) -> dict[str, Any]:
    """Return a configuration as plain JSON values."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(part) for name, part in value.items()}
        if isinstance(value, tuple):
            return list(value)
        return str(value) if isinstance(value, Path) else value

    values: dict[str, Any] = plain(dataclasses.asdict(config))
    return values


def from_json(values: Any) -> Config:
    """Return the configuration that `to_json` wrote.

    Raises:
        InputError: If a part, a name or a type is not as expected.
    """
    try:
        check(set(values) == set(_PARTS), f"Expected the parts {sorted(_PARTS)}; got {sorted(values)}.")
        config = Config(**{name: _part(kind, values[name]) for name, kind in _PARTS.items()})
        config.check()
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Expected a saved configuration; it does not read as one ({error}).") from None
    return config


_PARTS: dict[str, type[Any]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "run": RunConfig,
}


def _part(kind: type[Any], values: dict[str, Any]) -> Any:
    converted = dict(values)
    if kind is TrainingConfig:
        # Version 0.1.0 kept the best ELBO, and wrote null for no patience.
        converted.setdefault("keep", "best-elbo")
        converted["patience"] = converted.get("patience") or "none"
    for name, hint in get_type_hints(kind).items():
        if get_origin(hint) is Literal and name in converted:
            check_choice(converted[name], get_args(hint), name)
    for name in ("data_root", "out", "resume", "start"):
        if converted.get(name) is not None:
            converted[name] = Path(converted[name])
    if "hidden" in converted:
        converted["hidden"] = tuple(converted["hidden"])
    return kind(**converted)

"""Settings of training: steps, learning rate, early stopping and the kept weights."""

from __future__ import annotations

from typing import Literal

from pyro_vae.settings.checks import at_least, positive, positive_or_zero, scale, share, size
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group
from pyro_vae.settings.metrics import MetricPart
from pyro_vae.settings.objectives import ObjectivePart

__all__ = ["TrainingConfig"]


@group(ObjectivePart, MetricPart)
class TrainingConfig(Group):
    """Stochastic variational inference."""

    num_particles: int = setting(
        1, "Samples of z for each row and step; iwae, dreg, renyi and wake-sleep need several.", check=size
    )
    epochs: int | None = setting(
        None,
        "Passes over the training rows. Default: enough for 5000 steps (2500 on few images without --lr), but between "
        "20 and 1000 epochs; training then stops early (see --patience).",
        check=at_least(1),
        resume=True,
        shown="{} epochs",
    )
    batch_size: int = setting(128, "Rows per batch.", check=size, shown="batch {}")
    accumulate: int = setting(
        1,
        "Batches per step of the optimizer, along the gradient of the mean loss of all their rows: steps of large "
        "batches for the memory of one batch.",
        check=size,
        shown="{} batches a step",
        unless=1,
    )
    lr: float | Literal["auto"] = setting(
        "auto",
        "Peak learning rate of Adam. auto is 2e-3 without --epochs on up to 125 batches of images, otherwise 1e-3.",
        check=positive,
        shown="Adam at {:g}",
    )
    schedule: Literal["auto", "cosine", "constant", "cooldown"] = setting(
        "auto",
        "Schedule of the learning rate. cooldown is constant for the first half of all steps, then falls linearly to "
        "0. auto is cosine if --epochs is given, otherwise cooldown, which suits early stopping.",
        shown="{} schedule",
        spread=("the learning rate ({})", "constant"),
    )
    warmup: float = setting(
        0.0,
        "Share of all steps in which the learning rate rises to its peak.",
        check=share("all steps"),
        shown="warm-up {:g}",
        spread=("the warm-up of the learning rate", 0.0),
        unless=0.0,
    )
    weight_decay: float = setting(
        0.0,
        "Decoupled weight decay (AdamW), for long training on few rows.",
        check=positive_or_zero,
        shown="weight decay {:g}",
        unless=0.0,
    )
    average: float | Literal["auto"] = setting(
        "auto",
        "Validate and keep the mean of the weights over this share of the most recent steps, such as 0.05; 0 for none. "
        "Averaging removes most of the noise of steps at a high learning rate. auto is 0 if --epochs is given, "
        "otherwise 0.05.",
        check=share("the steps so far", whole=True),
    )
    clip_norm: float | None = setting(
        None,
        "Largest norm of the gradient. Default: no clipping.",
        check=scale,
        shown="gradients clipped at {:g}",
    )
    patience: int | Literal["auto", "none"] = setting(
        "auto",
        "Stop after this many epochs without a better validation score (see --keep). auto is none if --epochs is "
        "given, otherwise an eighth of the epochs, at least 10.",
        check=at_least(1),
        resume=True,
    )
    keep: Literal["auto", "best-elbo", "best-loss", "last"] = setting(
        "auto",
        "Epoch whose weights are kept: the largest validation ELBO, the smallest validation loss, or the last epoch. "
        "auto is best-elbo if the loss is minus the ELBO, otherwise best-loss, for example with --beta, --free-bits or "
        "several samples.",
    )
    seed: int = setting(
        0,
        "Seed of the initial weights, the order of the rows and all noise of training.",
        check=at_least(0),
        shown="seed {}",
    )
    metrics_every: int = setting(
        1,
        "Measure the metrics after every METRICS_EVERY epochs, and at the end with the kept weights.",
        check=at_least(1),
        shown="metrics every {} epochs",
        unless=1,
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "Device; auto uses CUDA if it is available.", resume=True, shown="{}"
    )
    compile: Literal["auto", "on", "off"] = setting(
        "auto",
        "Compile loss and gradients. Compiling takes 10 to 20 s at the first start and 0.1 s at later ones, and makes "
        "each step several times faster; auto compiles if the run may take 2400 steps or more.",
        shown="compile {}",
    )

"""Settings of training: steps, learning rate, what is kept, and when it ends."""

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
        1, "Samples of z for each row and step; iwae, dreg, renyi and wake-sleep take several.", check=size
    )
    epochs: int | None = setting(
        None,
        "Passes over the training rows. Where not given, at most as many as make 5000 steps, between 20 and 1000: "
        "training then ends early where it no longer gains (see --patience).",
        check=at_least(1),
        resume=True,
        shown="{} epochs",
    )
    batch_size: int = setting(128, "Rows a step.", check=size, shown="batch {}")
    lr: float = setting(1e-3, "Peak learning rate of Adam.", check=positive, shown="Adam at {:g}")
    schedule: Literal["auto", "cosine", "constant", "cooldown"] = setting(
        "auto",
        "Learning rate over time: cooldown is constant for the first half of all steps, then falls linearly to 0. auto "
        "is cosine where --epochs is given, and cooldown, which suits an early end, where it is not.",
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
        "Validate and keep the mean of the weights over the last AVERAGE of the steps so far, such as 0.05; 0 for "
        "none. Removes most of the noise that steps at a high rate leave in the weights. auto is 0 where --epochs is "
        "given, and 0.05 where it is not.",
        check=share("the steps so far", whole=True),
    )
    clip_norm: float | None = setting(
        None,
        "Largest norm of the gradient; not clipped where not given.",
        check=scale,
        shown="gradients clipped at {:g}",
    )
    patience: int | Literal["auto", "none"] = setting(
        "auto",
        "Epochs without a better one, by the number that --keep compares epochs by, after which training ends. auto is "
        "none where --epochs is given, and an eighth of the epochs, at least 10, where it is not.",
        check=at_least(1),
        resume=True,
    )
    keep: Literal["auto", "best-elbo", "best-loss", "last"] = setting(
        "auto",
        "Which epoch's weights are kept: the one with the largest validation ELBO, the one with the smallest "
        "validation loss, or the last. auto is best-elbo where the loss is minus the ELBO, and best-loss where it is "
        "something else, as with --beta, --free-bits or several samples.",
    )
    seed: int = setting(
        0,
        "Of the first weights, the order of the rows and all noise of training.",
        check=at_least(0),
        shown="seed {}",
    )
    metrics_every: int = setting(
        1,
        "Measure the metrics after every so many epochs, and at the end on the kept weights.",
        check=at_least(1),
        shown="metrics every {} epochs",
        unless=1,
    )
    device: Literal["auto", "cpu", "cuda"] = setting(
        "auto", "auto takes CUDA where there is one.", resume=True, shown="{}"
    )
    compile: Literal["auto", "on", "off"] = setting(
        "auto",
        "Trace and compile loss and gradients, which takes 10 to 20 s and makes each step several times as fast; auto "
        "does so where the run is long enough to repay it.",
        shown="compile {}",
    )

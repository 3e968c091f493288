"""`fit`: train a model and a guide on rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pyro_vae._checks import InputError, check, check_choice, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import restore_devices
from pyro_vae.compiled import worth_compiling
from pyro_vae.data.adapters import as_blocks, as_training_batches
from pyro_vae.data.joined_batches import joined
from pyro_vae.objectives import ELBO, Objective
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.training.best_epoch import BestEpoch
from pyro_vae.training.callbacks import Callback, ProgressBar
from pyro_vae.training.learning_rate import Schedule
from pyro_vae.training.metrics import Measurement, Metric
from pyro_vae.training.optimizer import FusedAdamW
from pyro_vae.training.result import FitResult
from pyro_vae.training.start import check_trainable
from pyro_vae.training.step_rule import StepRule
from pyro_vae.training.stepper import OptimizerFactory
from pyro_vae.training.trainer import Trainer

__all__ = ["fit", "make_trainer", "resolve_device"]


def fit(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    train: Any,
    validation: Any = None,
    *,
    objective: Objective | None = None,
    epochs: int = 100,
    batch_size: int = 128,
    accumulate: int = 1,
    optimizer: OptimizerFactory | None = None,
    schedule: Schedule | None = None,
    average: float = 0.0,
    clip_norm: float | None = None,
    patience: int | None = None,
    keep: str = "auto",
    metrics: Mapping[str, Metric] | None = None,
    metrics_every: int = 1,
    callbacks: Sequence[Callback] = (),
    device: str = "auto",
    compile: str = "auto",  # noqa: A002 (the word that PyTorch's users know)
    seed: int | None = None,
    processes: Processes = SINGLE_PROCESS,
    progress: bool = True,
) -> FitResult:
    """Train a model and a guide by stochastic variational inference (Kingma & Welling 2014, algorithm 1).

    Afterwards both have the weights of the best epoch (see `keep`), are in evaluation mode and on their original
    device. This also holds if a callback or Ctrl-C ends training; without a finished epoch they have the weights of
    the last step. The global random state is restored. Pyro's parameter store is unchanged, except for `pyro.param`
    statements of plain functions.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        train: Rows at once (array, tensor, list, DataFrame, or a tuple of rows and context), a `Split`, a map-style
            `Dataset`, a `DataLoader`, or a list of batches that are tuples. Images are flattened, channels first.
            Programs of one input ignore y in (x, y).
        validation: Rows in the same containers, or None.
        objective: The objective; `ELBO()` by default.
        epochs: Number of passes over the training rows.
        batch_size: Rows per batch, of all processes together; ignored for a `DataLoader`.
        accumulate: Batches per step of the optimizer, along the gradient of the mean loss of all their rows. A step is
            that of a batch `accumulate` times as large, for the memory of one batch. Schedules, `average` and
            `clip_norm` work on steps.
        optimizer: Function from the parameters to a `torch.optim.Optimizer`; Adam at 1e-3 by default.
        schedule: The learning rate over time; half a cosine down to 0 by default.
        average: Validate and keep the mean of the weights over the last `average` of the steps so far, such as 0.05;
            0 for none. Reduces the noise of the weights at a high learning rate.
        clip_norm: Maximum Euclidean norm of the whole gradient; None for no clipping.
        patience: Number of epochs without improvement after which training ends; None for no early stopping.
        keep: Which epoch's weights are kept: "best-elbo" by the largest validation ELBO, "best-loss" by the smallest
            validation loss, "last". "auto" is "best-elbo" if the loss is minus the ELBO, else "best-loss" (`beta`,
            `free_bits`, several samples); "last" without validation rows. `patience` uses the same criterion.
        metrics: Metrics of the validated weights after each epoch, by name: functions (model, guide) -> number, such
            as `{"error": ReconstructionError(x)}`. They run in evaluation mode, without gradients and with a separate
            random state, so training does not depend on them. Stored in `FitResult.history[i]["metrics"]`, NaN for
            non-finite values. A function may also return numbers by name, as `SampleQuality` does.
        metrics_every: Number of epochs between measurements; also measured at the end on the kept weights.
        callbacks: Called after steps and epochs; see `Callback`.
        device: "auto" (CUDA if available), "cpu" or "cuda".
        compile: "on" traces loss and gradients once through Pyro's handlers and compiles them, which takes 10 to 20 s
            at the first start and 0.1 s at later ones, and makes steps several times as fast; "auto" compiles if the
            run may take 2400 steps or more.
        seed: Seed of the order of rows and of all noise; drawn from torch's random state if None.
        processes: The processes that train together, from `started_processes()` in a script started by torchrun. All
            must pass the same data and settings. Weights and seed are those of the first.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The history and the reason for the end of training; see `FitResult`.

    Raises:
        InputError: If an argument or the data is invalid, or a metric fails or does not return a number.
        NonFiniteLossError: If the loss or a gradient is not finite; the weights are those of the step before.

    Example:
        >>> import torch
        >>> from pyro_vae import DiagonalNormalGuide, GenerativeModel, StandardNormal, fit, mlp_decoder, mlp_encoder
        >>> from pyro_vae.likelihoods import BernoulliLikelihood
        >>> x = (torch.rand(100, 6) < 0.3).float()
        >>> mean, std = x.mean(0), x.std(0)
        >>> model = GenerativeModel(StandardNormal(2), mlp_decoder(2, [8], 6), BernoulliLikelihood(mean, std))
        >>> guide = DiagonalNormalGuide(mlp_encoder(mean, std, [8], 2 * 2))
        >>> result = fit(model, guide, x, epochs=2, progress=False)
        >>> [sorted(line["train"]) for line in result.history][0]
        ['elbo', 'kl', 'reconstruction']
    """
    if seed is None:
        seed = int(processes.from_first(torch.randint(2**62, ())))
    with torch.inference_mode(False), torch.enable_grad(), restore_devices(model, guide):
        trainer = make_trainer(
            model,
            guide,
            train,
            validation,
            objective=objective or ELBO(),
            epochs=epochs,
            batch_size=batch_size,
            accumulate=accumulate,
            optimizer=optimizer or FusedAdamW,
            schedule=schedule or Schedule(),
            average=average,
            clip_norm=clip_norm,
            patience=patience,
            keep=keep,
            metrics=metrics,
            metrics_every=metrics_every,
            callbacks=(*callbacks, ProgressBar()) if progress and processes.rank == 0 else callbacks,
            device=device,
            compile=compile,
            processes=processes,
            seed=check_integer(seed, "seed", 0),
        )
        result = trainer.run()
    for note in filter(None, (result.note, result.metrics_note)):
        warnings.warn(note, stacklevel=2)
    return result


def make_trainer(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    train: Any,
    validation: Any,
    *,
    objective: Objective,
    epochs: int,
    batch_size: int,
    optimizer: OptimizerFactory,
    schedule: Schedule,
    device: str,
    compile: str,  # noqa: A002
    seed: int,
    accumulate: int = 1,
    average: float = 0.0,
    clip_norm: float | None = None,
    patience: int | None = None,
    keep: str = "auto",
    metrics: Mapping[str, Metric] | None = None,
    metrics_every: int = 1,
    processes: Processes = SINGLE_PROCESS,
    callbacks: Sequence[Callback] = (),
) -> Trainer:
    """Return the trainer that `fit` runs, to save and restore its state."""
    check(
        validation is not None or patience is None,
        "Expected validation data, which patience needs to know when to stop; got none. Leave out patience.",
    )
    check_choice(compile, ("auto", "on", "off"), "compile")
    place = resolve_device(device)
    loss = objective(model, guide).to(place)
    check_trainable(loss)
    entry = entry_for(model, guide)
    missing = getattr(model, "takes_missing", True)
    batches = as_training_batches(train, batch_size, seed, place, processes, entry, missing=missing)
    blocks = None
    if validation is not None:
        blocks = as_blocks(validation, place, processes=processes, entry=entry, missing=missing)
    num_batches = check_integer(epochs, "epochs") * len(batches)
    compiled = compile == "on" or (compile == "auto" and worth_compiling(num_batches))
    part_size = None
    if check_integer(accumulate, "accumulate") > 1:
        batches, part_size = joined(batches, accumulate)
    return Trainer(
        loss,
        batches,
        blocks,
        entry=entry,
        epochs=epochs,
        rule=StepRule(optimizer, schedule, clip_norm, average, compiled, part_size),
        best=BestEpoch(keep, loss.objective, validation is not None, patience),
        measure=Measurement(metrics, seed, processes, metrics_every),
        seed=seed,
        processes=processes,
        callbacks=callbacks,
    )


def resolve_device(device: str) -> torch.device:
    """Return the torch device for "auto" (CUDA if available), "cpu" or "cuda".

    Raises:
        InputError: If CUDA is requested but not available, or the name is unknown.
    """
    check_choice(device.partition(":")[0], ("auto", "cpu", "cuda"), "device")
    available = torch.cuda.is_available()
    if device == "auto":
        return torch.device("cuda" if available else "cpu")
    if device.startswith("cuda") and not available:
        raise InputError(
            "Expected a CUDA device for --device cuda; torch finds none. Use --device cpu or auto."
        )
    return torch.device(device)

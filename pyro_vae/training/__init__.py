"""Stochastic variational inference over batches. The loop is independent of models and objectives."""

from pyro_vae.training.accumulated_gradients import AccumulatedGradients
from pyro_vae.training.accuracy import Accuracy
from pyro_vae.training.averaged_gradients import AveragedGradients
from pyro_vae.training.best_epoch import KEEP, BestEpoch, kept_by
from pyro_vae.training.callbacks import Callback, ProgressBar, TrainerState
from pyro_vae.training.fit import fit, make_trainer, resolve_device
from pyro_vae.training.learning_rate import Schedule
from pyro_vae.training.logs import CSVLog, EpochLog, TensorBoardLog
from pyro_vae.training.metrics import Measurement, Metric
from pyro_vae.training.optimizer import FusedAdamW
from pyro_vae.training.reconstruction_error import ReconstructionError
from pyro_vae.training.result import FitResult
from pyro_vae.training.step_rule import StepRule
from pyro_vae.training.stepper import Stepper, StepPosition
from pyro_vae.training.trainer import Trainer
from pyro_vae.training.validation import Validation
from pyro_vae.training.weight_average import WeightAverage

__all__ = [
    "KEEP",
    "AccumulatedGradients",
    "Accuracy",
    "AveragedGradients",
    "BestEpoch",
    "CSVLog",
    "Callback",
    "EpochLog",
    "FitResult",
    "FusedAdamW",
    "Measurement",
    "Metric",
    "ProgressBar",
    "ReconstructionError",
    "Schedule",
    "StepPosition",
    "StepRule",
    "Stepper",
    "TensorBoardLog",
    "Trainer",
    "TrainerState",
    "Validation",
    "WeightAverage",
    "fit",
    "kept_by",
    "make_trainer",
    "resolve_device",
]

__path__.append(f"{__path__[0]}/../_moved/training")  # modules of version 0.1.0 under their old names

"""Ours, trained as `svi_train.py` does: `python -m benchmarks.quality_ours JOB`, with "stages" in the job."""

from pyro_vae._environment import limit_thread_spinning

limit_thread_spinning()

import copy
from dataclasses import replace

import torch
from torch import nn

from benchmarks._snapshots import Layers, Snapshots, of_rows
from benchmarks.quality_pytorch import linear_layers
from pyro_vae.experiment.config import from_json
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.prepare import prepare
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.networks import UNIT, Standardize
from pyro_vae.training import Callback, TrainerState


def plain_layers(model: nn.Module, guide: nn.Module) -> tuple[Layers, Layers]:
    """Return linear layers that include the standardization of the input and the constants of guide and likelihood."""
    assert isinstance(model, GenerativeModel)
    assert isinstance(guide, AmortizedGuide)
    # Copies, because training continues before these are written.
    encoder, decoder = copy.deepcopy((linear_layers(guide.encoder), linear_layers(model.decoder)))
    standardize = next(module for module in guide.encoder.modules() if isinstance(module, Standardize))
    encoder[0] = of_rows(encoder[0], standardize.loc, standardize.scale)
    weight, bias = encoder[-1]
    loc, raw_scale = bias.chunk(2)
    encoder[-1] = (weight, torch.cat([loc, raw_scale + UNIT]))
    weight, bias = decoder[-1]
    decoder[-1] = (weight, bias + model.likelihood.get_buffer("offset"))
    return encoder, decoder


def mean_layers(trainer: TrainerState) -> tuple[Layers, Layers]:
    """Return the layers with the weights that the trainer would keep now."""
    with trainer.average.in_place():
        return plain_layers(*trainer.modules())


class WhenDue(Callback):
    """Writes the weights when they are due, and ends training at the time limit."""

    touches_programs = False

    def __init__(self, snapshots: Snapshots) -> None:
        self.snapshots = snapshots

    def on_step(self, trainer: TrainerState) -> None:
        """Look at the clock."""
        if self.snapshots.over(lambda: mean_layers(trainer), "softplus"):
            trainer.stop("time")


def main() -> None:
    """Train, one stage after the other."""
    snapshots = Snapshots()
    stages = [from_json(stage) for stage in snapshots.job["stages"]]
    dataset = load_data(stages[0])
    prepared = [prepare(stage, dataset) for stage in stages]
    model, guide = prepared[0].model, prepared[0].guide
    for stage in prepared:
        settings = {"validation": None, "keep": "last", "callbacks": (WhenDue(snapshots),)}
        result = replace(stage, model=model, guide=guide).trainer(**settings).run()
        if result.note:
            raise RuntimeError(result.note)
        if result.stopped == "time":
            return
    snapshots.write(lambda: plain_layers(model, guide), "softplus")


if __name__ == "__main__":
    main()

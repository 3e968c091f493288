"""The worker of `processes.py`: steps alone or jointly, timed by the first process."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vae._environment import limit_thread_spinning

limit_thread_spinning()

import torch

from benchmarks._serve import clock
from pyro_vae.compiled import CompiledGradients
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.objectives import ELBO
from pyro_vae.processes import Processes, started_processes
from pyro_vae.training import AveragedGradients, FusedAdamW, Stepper, StepPosition


def step_of(network: Any, num_rows: int, processes: Processes | None) -> Callable[[], Any]:
    """Return a step on this process's share of the rows, or on all rows if it is alone."""
    data_dim, hidden, latent_dim, *_ = network
    x = (torch.rand(num_rows, data_dim) < 0.2).float()
    own = x[processes.share(num_rows)] if processes else x
    config = ModelConfig(
        likelihood="bernoulli", latent_dim=latent_dim, hidden=tuple(hidden), activation="relu"
    )
    loss = ELBO()(*build(config, x.mean(0), torch.ones(data_dim)))
    parameters: list[torch.Tensor] = [*loss.parameters()]
    alone = CompiledGradients(loss, parameters, (own,))
    gradients = AveragedGradients(alone, processes, lambda: num_rows) if processes else alone
    step = Stepper(loss, parameters, gradients, FusedAdamW)
    return lambda: step((own,), StepPosition(0, 0), progress=0.0)


def timed(step: Callable[[], Any], count: int) -> float:
    """Return the seconds of a step."""
    started = clock()
    for _ in range(count):
        step()
    return (clock() - started) / count


def main() -> None:
    """Time steps and sums; the first process writes the results."""
    processes, job = started_processes(), json.loads(sys.argv[1])
    turn, found = torch.zeros(()), []
    for num_rows in job["batch_sizes"]:
        together = step_of(job["network"], num_rows, processes)
        together()
        seconds = processes.from_first(torch.tensor(timed(together, 3)))
        count = max(1, int(job["seconds"] / seconds))
        alone = step_of(job["network"], num_rows, None) if processes.rank == 0 else None
        times: dict[str, list[float]] = {"alone": [], "together": []}
        for _ in range(1 + job["rounds"]):
            if alone is not None:
                times["alone"].append(timed(alone, count))
            processes.sum(turn)  # the others wait here without using the processor
            times["together"].append(timed(together, count))
        # The first round compiles.
        found.append({"rows": num_rows} | {kind: seconds[1:] for kind, seconds in times.items()})
    model = build(
        ModelConfig(likelihood="bernoulli", latent_dim=job["network"][2], hidden=tuple(job["network"][1])),
        torch.zeros(job["network"][0]),
        torch.ones(job["network"][0]),
    )
    parameters = sum(p.numel() for program in model for p in program.parameters())
    values = torch.zeros(parameters)
    sums = [timed(lambda: processes.sum(values), 5) for _ in range(job["rounds"])]
    if processes.rank == 0:
        Path(job["out"]).write_text(json.dumps({"batches": found, "parameters": parameters, "sums": sums}))


if __name__ == "__main__":
    main()

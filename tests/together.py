"""What each of two processes does in `test_processes.py`, started by torchrun: what was found, then three scripts.

python -m torch.distributed.run --standalone --nproc-per-node 2 tests/together.py FOLDER

The first process writes `FOLDER/found.json`; `FOLDER/scripts.json` holds the arguments of the scripts.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from helpers import script

import pyro_vae.experiment.train_run  # noqa: F401
from pyro_vae import ELBO, Callback, fit
from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.experiment.comparison import pooled_moments
from pyro_vae.processes import SINGLE_PROCESS, started_processes
from pyro_vae.training import AveragedGradients

HEAVY = [name for name in ("sklearn", "pandas", "matplotlib", "arviz", "IPython") if name in sys.modules]
"""What training has imported without need."""
D, L = 5, 2


class Decoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(L, D)

    def forward(self, x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(L), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.network(z), 0.5).to_event(1), obs=x[:, :D])


class Replaying(torch.nn.Module):
    """A guide whose noise comes with the rows: z = loc(x) + scale * x[D:]."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(D, L)
        self.log_scale = torch.nn.Parameter(torch.full((L,), -0.5))
        self.unused = torch.nn.Parameter(torch.zeros(3))

    def forward(self, x):
        with pyro.plate("data", len(x)):
            base = dist.Normal(self.network(x[:, :D]), self.log_scale.exp()).to_event(1)
            pyro.sample("z", Fixed(base, base.base_dist.loc + self.log_scale.exp() * x[:, D:]))


class Fixed(dist.TorchDistribution):
    """A distribution whose sample is known."""

    has_rsample = True
    arg_constraints: ClassVar = {}

    def __init__(self, base, value):
        self.base, self.value = base, value
        super().__init__(base.batch_shape, base.event_shape)

    def rsample(self, sample_shape=()):
        return self.value.expand(*sample_shape, *self.value.shape)

    def log_prob(self, value):
        return self.base.log_prob(value)

    def expand(self, batch_shape, _instance=None):
        return self


class StopAt(Callback):
    def __init__(self, rank, processes):
        self.mine, self.steps = rank == processes.rank, 0

    def on_step(self, trainer):
        self.steps += 1
        if self.mine and self.steps == 5:
            trainer.stop("enough")


def programs():
    torch.manual_seed(1)
    return Decoder(), Replaying()


def gradients_of(processes, make, x):
    """Return loss, norm, sums and gradients of the mean over all rows of x, of which each process has a share."""
    model, guide = programs()
    loss = ELBO()(model, guide)
    parameters = list(loss.parameters())
    own = x[processes.share(len(x))]
    gradients = make(loss, parameters, own)
    if processes.count > 1:
        gradients = AveragedGradients(gradients, processes, lambda: len(x))
    found = gradients(own, progress=torch.zeros(()))
    assert sum(g is None for g in found.gradients) == 1  # that of the unused parameter
    return [found.terms.loss, found.norm, *found.sums, *(g for g in found.gradients if g is not None)]


def trained(processes, x, **settings):
    model, guide = programs()
    with torch.no_grad():
        model.network.bias += processes.rank  # all start from the first one's
    defaults = {"epochs": 3, "batch_size": 7, "seed": 3, "progress": False, "processes": processes}
    result = fit(model, guide, x, x[:9], **defaults | settings)
    return result, torch.cat([p.detach().flatten() for p in (*model.parameters(), *guide.parameters())])


def main():
    processes = started_processes()
    rows = torch.randn(23, D + L, generator=torch.Generator().manual_seed(0))
    makers = {
        "handlers": lambda loss, parameters, own: Gradients(loss, parameters),
        "traced": lambda loss, parameters, own: CompiledGradients(loss, parameters, (own,), uncompiled),
    }
    found = {"count": processes.count, "loaded": HEAVY}
    for name, make in makers.items():
        whole, shared = (gradients_of(who, make, rows[:7]) for who in (SINGLE_PROCESS, processes))
        found[name] = [float((a - b).abs().max() / a.abs().max()) for a, b in zip(whole, shared, strict=True)]

    ours = torch.arange(3 + processes.rank) + 10 * processes.rank
    found["gathered"] = processes.gather(ours).tolist()
    found["shares"] = processes.gather(torch.arange(7)[processes.share(7)]).tolist()
    found["from_first"] = float(processes.from_first(torch.tensor(5.0 + processes.rank)))
    found["seeds_differ"] = len(set(processes.gather(torch.tensor([processes.seed(3)])).tolist())) == 2

    from pyro_vae.baselines import PPCA

    x = (
        np.random.default_rng(0).standard_normal((400, 6)) @ np.random.default_rng(1).standard_normal((6, 6))
        + 3
    )
    whole, shared = PPCA(2).fit(x), PPCA(2).fit_moments(pooled_moments(x[processes.share(len(x))], processes))
    apart = [
        np.abs(getattr(whole, n) - getattr(shared, n)).max()
        for n in ("components_", "mean_", "noise_variance_")
    ]
    found["ppca"] = float(max(apart))

    sgd = partial(torch.optim.SGD, lr=1e-2)
    _, weights = trained(processes, rows, optimizer=sgd)
    found["weights_apart"] = float(processes.sum((processes.from_first(weights) - weights).abs().max()))
    one_step = {"optimizer": sgd, "epochs": 1, "batch_size": len(rows)}
    (_, alone), (result, shared) = (trained(who, rows, **one_step) for who in (SINGLE_PROCESS, processes))
    found["one_step_apart"] = float((shared - alone).abs().max())  # read in the first process
    several_batches = one_step | {"batch_size": 8, "accumulate": 3}
    _, accumulated = trained(processes, rows, **several_batches)
    found["accumulated_apart"] = float((accumulated - alone).abs().max())
    found["validated"] = result.history[0]["validation"]["elbo"]
    beta = {"objective": ELBO(beta=2.0), "epochs": 30, "patience": 2, "average": 0.5}
    result, _ = trained(processes, rows, **beta)
    validation = [line["validation"] for line in result.history]
    metrics = {
        "rank": lambda model, guide: processes.rank,
        "noise": lambda model, guide: float(torch.rand(())),
    }
    measured, _ = trained(processes, rows, metrics=metrics)
    numbers = torch.tensor([list(line["metrics"].values()) for line in measured.history])
    found["metrics"] = processes.gather(numbers).tolist()
    found["losses_apart"] = max(abs(v["loss"] - (2 * v["kl"] - v["reconstruction"])) for v in validation)
    found["kept"] = processes.gather(torch.tensor([result.best_epoch])).tolist()
    found["kept_by"] = result.kept_by
    stopper = StopAt(1, processes)
    found["stopped"] = trained(processes, rows, callbacks=(stopper,))[0].stopped
    found["steps"] = processes.gather(torch.tensor([stopper.steps])).tolist()

    folder = Path(sys.argv[1])
    if processes.rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    scripts = json.loads((folder / "scripts.json").read_text())
    assert script(*scripts["trained"], figures=True) == 0
    assert script(*scripts["scored"], name="evaluate.py") == 0
    assert script(*scripts["resumed"]) == 0


if __name__ == "__main__":
    main()

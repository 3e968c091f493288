"""Monte Carlo EM: a model trained without a guide, by Hamiltonian Monte Carlo in its place."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from pyro_vae._checks import InputError, NonFiniteLossError, check, check_integer, check_positive, check_rows
from pyro_vae._programs import local_parameters
from pyro_vae.data import Batches, Split
from pyro_vae.data.adapters import as_blocks
from pyro_vae.mcmc import HMC, init
from pyro_vae.models import GenerativeModel
from pyro_vae.training import FitResult, Schedule, resolve_device
from pyro_vae.training.trainer import OptimizerFactory

__all__ = ["MonteCarloEM", "MonteCarloEMResult"]


@dataclass(frozen=True)
class MonteCarloEMResult(FitResult):
    """What `MonteCarloEM.fit` returns: a `FitResult`, and where the chains ended.

    In `history` the terms of "train" (and "validation") are means over the rows, at the draws of the epoch:
    "reconstruction", log p(x | z), and "log_prior", log p(z), in nats per example, and "accept_rate". There is
    no "elbo": nothing here bounds log p(x).

    Args:
        z: One draw of p(z | x) for each training row, in their order, shape (N, latent_dim).
        step_size: The step size that each row's chain has come to, shape (N, latent_dim).
    """

    z: Tensor
    step_size: Tensor


@dataclass(frozen=True)
class MonteCarloEM:
    """Monte Carlo EM (Wei & Tanner 1990), as Kingma & Welling 2014 compare with it (section 5, appendix E).

    For each batch of rows x, at the present parameters theta:

        E-step: z_n moves by Hamiltonian Monte Carlo towards and along p(z | x_n), for each row n by itself;
        M-step: one step of the optimizer along the gradient of mean_n log p(x_n, z_n).

    By Fisher's identity the gradient of log p(x) is the mean of that of log p(x, z) over p(z | x), so with
    draws of p(z | x) the M-step climbs the likelihood itself and no guide, nor its gap, stands between. The
    chain of a row goes on from epoch to epoch, and as the learning rate falls to 0 the parameters come to rest
    and the chains with them at the posterior: a stochastic approximation with Markovian noise (Gu & Kong 1998).

    All chains start at draws of the prior and find their step sizes in the first epoch, by `HMC.adapt`. The
    posterior then narrows as the decoder learns, so each row's step size e follows its acceptance probability
    a at no further cost (Andrieu & Thoms 2008, Algorithm 4): `log e += gain (a - target_accept)`, with a gain
    that falls with the learning rate: where it stayed, e would depend on z for ever and bend the chain's law.

    Evaluation is that of any other model: by a guide that is fitted to the finished, frozen model.

        em = MonteCarloEM().fit(model, train, epochs=200)
        fit(model.requires_grad_(False), guide, train, validation)
        estimate_elbo(model, guide, as_blocks(test))

    Args:
        hmc: The transition. Scales of each dimension (`diagonal_mass`) would be measured in the first epoch,
            before the decoder has given them any, so the default does without.
        num_steps: Transitions of a row in each of its E-steps.
        num_warmup: Steps of adaptation in the first epoch.
        gain: How fast step sizes follow, at the peak of the learning rate; 0 keeps those of the first epoch.

    Raises:
        InputError: An argument is out of range.
    """

    hmc: HMC = field(default=HMC(diagonal_mass=False))
    num_steps: int = 1
    num_warmup: int = 20
    gain: float = 0.5

    def __post_init__(self) -> None:
        check_integer(self.num_steps, "num_steps")
        check_integer(self.num_warmup, "num_warmup", minimum=0)
        check_positive(self.gain, "gain", zero=True)

    def fit(
        self,
        model: GenerativeModel,
        train: np.ndarray | Tensor | Split,
        validation: np.ndarray | Tensor | Split | None = None,
        *,
        epochs: int = 100,
        batch_size: int = 128,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        device: str = "auto",
        seed: int | None = None,
        progress: bool = True,
    ) -> MonteCarloEMResult:
        """Train the model, which ends with the last epoch's weights: there is no bound to choose others by.

        It is in evaluation mode throughout, because dropout or batch statistics would leave rows without a
        density of their own. The random state stays as it was.

        Args:
            model: The generative program; those of its parameters that require gradients are trained.
            train: Rows of shape (N, data_dim), in data units: an array, a tensor or a `Split`. All of them lie
                on the device, a split's under its fixed draw of noise, the one that exact baselines are fitted
                to: noise drawn anew would move the target of each chain away from where the chain has come.
            validation: Likewise, or None. Its rows have chains that the model does not learn from.
            epochs: Passes over the training rows.
            batch_size: Rows a step.
            optimizer: Function from the parameters to a `torch.optim.Optimizer`; Adam at 1e-3 by default.
            schedule: The learning rate over time; half a cosine down to 0 by default.
            device: "auto", "cpu" or "cuda".
            seed: Of the order of rows and of all noise; drawn from torch's random state where None.
            progress: Whether to show a progress bar on stderr.

        Returns:
            The history and the chains; see `MonteCarloEMResult`.

        Raises:
            InputError: If an argument or the data is not usable.
            NonFiniteLossError: If log p(x, z) or its gradient is not finite; the weights are those of the step
                before.
        """
        check_integer(epochs, "epochs")
        seed = int(torch.randint(2**62, ())) if seed is None else check_integer(seed, "seed", 0)
        place = resolve_device(device)
        _check_model(model)
        model.to(place).eval()
        splits = {"train": train} | ({} if validation is None else {"validation": validation})
        rows = {name: _rows(model, data, name, place) for name, data in splits.items()}
        with torch.random.fork_rng(), local_parameters():
            torch.manual_seed(seed)
            # The training chains come first, so that they are the same with and without validation.
            chains = {name: _Chains(self, model, x, batch_size, seed) for name, x in rows.items()}
            maximize = _Maximizer(
                model,
                optimizer or partial(torch.optim.Adam, lr=1e-3, fused=True),
                schedule or Schedule(),
                epochs * len(chains["train"].batches),
            )
            return _run(chains, maximize, epochs, progress)


def _run(chains: dict[str, _Chains], maximize: _Maximizer, epochs: int, progress: bool) -> MonteCarloEMResult:
    """Alternate E-steps and M-steps, epoch after epoch."""
    started, history, train = time.monotonic(), [], chains["train"]
    with tqdm(
        total=epochs * len(train.x), unit=" rows", unit_scale=True, mininterval=0.5, disable=not progress
    ) as bar:
        for epoch in range(epochs):
            bar.set_description_str(f"epoch {epoch + 1}/{epochs}", refresh=False)
            line: dict[str, Any] = {"epoch": epoch + 1, "train": train.sweep(epoch, maximize.share, maximize)}


class _Chains:
    """One chain for each row of x, in batches."""

"""A whole epoch through `fit`."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass

from benchmarks._contenders import spread
from benchmarks._report import InRounds, machine, markdown, write
from benchmarks.networks import NETWORKS


@dataclass(frozen=True)
class Epoch(InRounds):
    """Epochs of `fit`, validation, metrics and progress bar included, beside as many bare steps."""

    network: str = "784-400-20"
    """As for `step`."""
    num_rows: int = 50_000
    """Training rows; a fifth as many are validated on after each epoch, as for MNIST."""
    compile: str = "on"
    """As for `fit`."""

    def run(self) -> None:
        """Time, print, write."""
        import torch

        from pyro_vae.building import build
        from pyro_vae.config import ModelConfig
        from pyro_vae.objectives import ELBO
        from pyro_vae.training import Callback, FusedAdamW, ProgressBar, Schedule, make_trainer

        class Bare(Callback):
            """Takes as many bare steps after each epoch as it had, on a batch that is there already."""

            times: list[float]

            def __init__(self) -> None:
                self.times = []
                self.batch: tuple[torch.Tensor, ...] = ()

            def on_epoch(self, trainer: object) -> None:
                started = time.perf_counter()
                for _ in range(len(trainer.train)):  # type: ignore[attr-defined]
                    trainer.gradients(*self.batch, progress=progress)  # type: ignore[attr-defined]
                    trainer.optimizer.step()  # type: ignore[attr-defined]
                self.times.append(time.perf_counter() - started)

        torch.set_num_threads(self.threads)
        progress = torch.zeros(())
        data_dim, hidden, latent_dim, batch_size = NETWORKS[self.network]
        rows = (torch.rand(self.num_rows + self.num_rows // 5, data_dim) < 0.2).float()
        config = ModelConfig(
            likelihood="bernoulli", latent_dim=latent_dim, hidden=tuple(hidden), activation="relu"
        )
        bare = Bare()
        trainer = make_trainer(
            *build(config, rows.mean(0), rows.std(0)),
            rows[: self.num_rows],
            rows[self.num_rows :],
            objective=ELBO(),
            epochs=self.rounds + 1,
            batch_size=batch_size,
            optimizer=FusedAdamW,
            schedule=Schedule(),
            clip_norm=None,
            patience=None,
            device="cpu",
            compile=self.compile,
            seed=0,
            callbacks=(ProgressBar(), bare),
        )
        bare.batch = (rows[:batch_size].clone(),)
        result = trainer.run()
        ends = [line["seconds"] for line in result.history]
        # The first epoch compiles. An epoch's seconds end before its callbacks are called.
        epochs = [b - a for a, b in itertools.pairwise(ends)]
        ratios = [epoch / steps for epoch, steps in zip(epochs, bare.times[1:], strict=True)]
        figures = [
            ["epoch of fit", *spread(epochs, 1).values()],
            ["bare steps", *spread(bare.times[1:], 1).values()],
        ]
        told = (
            f"{self.network}, batch {batch_size}, {self.num_rows} rows, {self.num_rows // 5} of validation; "
            f"{machine(self.threads)}\n\n"
            + markdown(["", "s", "min", "max"], [*figures, ["ratio", *spread(ratios, 1).values()]])
        )
        write(self.out, "epoch", told, {"epochs": epochs, "bare": bare.times, "note": result.note})

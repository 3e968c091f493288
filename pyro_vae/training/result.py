"""What training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["FitResult"]


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Args:
        history: One dict an epoch: "epoch", "seconds", "learning_rate", "loss" (what the objective made of the batches,
            which is minus a bound for some objectives only), "train" and (where there is a validation split)
            "validation" with "elbo", "reconstruction", "kl" of weight one; nats per example.
        best_epoch: The epoch, counted from 1, whose weights the programs now have.
        stopped: Why training ended: "epochs", "patience", or what a callback gave as its reason.
        seconds: Time spent training, earlier parts of a resumed run included.
        compile_seconds: Time spent tracing and compiling, in this part of a resumed run.
        note: Why the programs ran by Pyro's handlers though compiling was asked for; empty where they did not.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    stopped: str
    seconds: float
    compile_seconds: float = field(default=0.0, kw_only=True)
    note: str = field(default="", kw_only=True)

"""A metric: classification accuracy of a guide with a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.data.splits import Split
from pyro_vae.statistics import mean_and_se

__all__ = ["Accuracy"]


@dataclass(frozen=True)
class Accuracy:
    """Fraction of rows whose most probable class under q(y | x) is their label, with its standard error over rows.

    The guide does not get the labels.

    Args:
        data: A `Split` with labels, usually the validation rows under their fixed draw; or rows (N, D) and labels,
            int64 (N,).

    Raises:
        InputError: If there are no labels.
    """

    data: Any

    def __post_init__(self) -> None:
        check(
            not isinstance(self.data, Split) or self.data.labels is not None,
            "Expected rows with labels for the accuracy; got none. Give a pair (x, labels).",
        )

    def __call__(self, model: Any, guide: Any) -> dict[str, float]:
        """Return "accuracy" and "accuracy_se".

        Args:
            model: Not used.
            guide: A guide with `classify(x)`, such as `SemiSupervisedGuide`.

        Raises:
            InputError: If the guide has no classifier.
        """
        mean, se = mean_and_se(self.correct(guide))
        return {"accuracy": mean, "accuracy_se": se}

    def correct(self, guide: Any) -> Tensor:
        """Return whether each row gets its class, float64 (N,) of zeros and ones."""
        check(
            hasattr(guide, "classify"),
            f"Expected a guide with a classifier for the accuracy; {type(guide).__name__} has none. Train with labels "
            "that are partly missing (--missing-labels).",
        )
        return torch.cat(
            [(guide.classify(x).argmax(-1).cpu() == y.cpu()).double() for x, y in self._blocks()]
        )

    def _blocks(self) -> Any:
        if not isinstance(self.data, Split):
            return [self.data]
        assert self.data.labels is not None
        blocks = (x for x, *_ in self.data.blocks(1000))
        return zip(blocks, self.data.labels.split(1000), strict=True)

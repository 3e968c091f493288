"""Precision and recall of samples."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.evenly_spaced import evenly_spaced_rows

__all__ = ["PrecisionRecall"]

NEIGHBOURS = 3
"""Neighbour whose distance is the radius; 3 in the paper."""
BLOCK = 1000


class PrecisionRecall:
    """Improved precision and recall (Kynkäänniemi et al. 2019, equations 1 and 2), k = 3.

    Each set of features is represented by balls around its points, with the distance to the third nearest other point
    as radius. Precision is the fraction of samples in the balls of the data, recall the fraction of data in the balls
    of the samples. Both depend on the numbers of points, which are made equal by taking evenly spaced rows of the
    larger set.

    Args:
        reference: Features of the data, shape (N, num_features), N above 3.
    """

    names = ("precision", "recall")

    def __init__(self, reference: Tensor) -> None:
        self.check_usable(len(reference), reference.shape[1], "training rows")
        self._reference = reference.double().cpu()

    @staticmethod
    def check_usable(count: int, num_features: int, what: str) -> None:
        """Raise `InputError` if `count` images have no third neighbour."""
        check(
            count > NEIGHBOURS,
            f"Expected more than {NEIGHBOURS} {what} for precision and recall; got {count}.",
        )

    @torch.no_grad()
    def __call__(self, features: Tensor) -> dict[str, float]:
        """Return "precision" and "recall", from 0 to 1.

        Args:
            features: Features of samples, shape (M, num_features), M above 3.
        """
        self.check_usable(len(features), features.shape[1], "samples")
        count = min(len(features), len(self._reference))
        data, samples = (
            part[torch.from_numpy(evenly_spaced_rows(len(part), count))]
            for part in (self._reference, features.double().cpu())
        )
        return {"precision": _covered(samples, data), "recall": _covered(data, samples)}


def _covered(points: Tensor, centres: Tensor) -> float:
    """Return the fraction of points in a ball of any centre."""
    # The smallest distance is that of a point to itself.
    radii = torch.cat(
        [torch.cdist(part, centres).kthvalue(NEIGHBOURS + 1, dim=1).values for part in centres.split(BLOCK)]
    )
    inside = [(torch.cdist(part, centres) <= radii).any(1) for part in points.split(BLOCK)]
    return float(torch.cat(inside).double().mean())

"""How strange rows are by their log-likelihood, and how well that finds labelled anomalies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import check

__all__ = ["Detection", "detection", "typicality"]


def typicality(log_prob: Tensor, reference: Tensor) -> Tensor:
    """Return how far log p(x) of each row lies from that of typical rows, nats, shape (N,).

    |-log p(x) - H| with H the mean of -log p over reference rows, the test of Nalisnick et al. (2019, eq. 5) for one
    row. A model may give strange rows a higher density than typical ones; these are far from typical too.

    Args:
        log_prob: log p(x) of the rows, shape (N,), nats.
        reference: log p(x) of rows like those of training that the model was not fitted to, shape (M,), nats.
    """
    return (log_prob - reference[reference.isfinite()].mean()).abs()


@dataclass(frozen=True)
class Detection:
    """Separation of labelled anomalies by a score.

    Args:
        auroc: Probability that an anomaly scores above a normal row; a half by chance.
        auroc_se: Its standard error over rows (Hanley & McNeil 1982, eq. 1).
        average_precision: Mean precision over the recalls of the anomalies; their share by chance.
        share: Share of rows that are anomalies.
    """

    auroc: float
    auroc_se: float
    average_precision: float
    share: float


def detection(score: Tensor, is_anomaly: NDArray[np.bool_]) -> Detection:
    """Return how well a score, shape (N,), larger for stranger rows, finds those that `is_anomaly` (N,) marks.

    Rows that could not be scored, NaN, count as the strangest.

    Raises:
        InputError: If all rows are anomalies, or none.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    strange, normal = int(is_anomaly.sum()), int((~is_anomaly).sum())
    check(
        strange > 0 and normal > 0,
        f"Expected labels of anomalies and of normal rows; got {strange} and {normal}. Name the label of the anomalies "
        "by --anomaly.",
    )
    values = np.nan_to_num(score.double().cpu().numpy(), nan=np.inf)
    values = np.clip(values, -np.finfo(float).max, np.finfo(float).max)
    area = float(roc_auc_score(is_anomaly, values))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (strange - 1) * (q1 - area**2) + (normal - 1) * (q2 - area**2)
    precision = float(average_precision_score(is_anomaly, values))
    return Detection(
        area, math.sqrt(max(variance, 0.0) / (strange * normal)), precision, strange / len(values)
    )

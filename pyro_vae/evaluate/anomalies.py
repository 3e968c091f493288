"""Anomaly scores from log p(x), and how well they separate labelled anomalies."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import check

__all__ = ["Detection", "detection", "typicality"]


def typicality(log_prob: Tensor, reference: Tensor) -> Tensor:
    """Return the distance of log p(x) of each row from the mean of typical rows, nats, shape (N,).

    `|-log p(x) - H|`, with H the mean of -log p over reference rows: the test of Nalisnick et al. (2019, eq. 5) for one
    row. It also detects anomalies that have a higher density than typical rows.

    Args:
        log_prob: log p(x) of the rows, shape (N,), nats.
        reference: log p(x) of held-out rows without anomalies, shape (M,), nats.
    """
    return (log_prob - reference[reference.isfinite()].mean()).abs()


@dataclass(frozen=True)
class Detection:
    """Separation of labelled anomalies by a score.

    Args:
        auroc: Probability that an anomaly has a higher score than a normal row; 0.5 by chance.
        auroc_se: Its standard error over rows (Hanley & McNeil 1982, eq. 1).
        average_precision: Mean precision over the recalls of the anomalies; their share by chance.
        share: Share of rows that are anomalies.
    """

    auroc: float
    auroc_se: float
    average_precision: float
    share: float


def detection(score: Tensor, is_anomaly: NDArray[np.bool_]) -> Detection:
    """Measure how well a score separates anomalies from normal rows.

    Args:
        score: Shape (N,), larger for anomalies. NaN, for rows that could not be scored, counts as the largest.
        is_anomaly: Mask of the anomalies, shape (N,).

    Raises:
        InputError: If all rows are anomalies, or none.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    anomalies, normal = int(is_anomaly.sum()), int((~is_anomaly).sum())
    check(
        anomalies > 0 and normal > 0,
        f"Expected labels of anomalies and of normal rows; got {anomalies} and {normal}. Set the label of the "
        "anomalies by --anomaly.",
    )
    values = np.nan_to_num(score.double().cpu().numpy(), nan=np.inf)
    values = np.clip(values, -np.finfo(float).max, np.finfo(float).max)
    area = float(roc_auc_score(is_anomaly, values))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (anomalies - 1) * (q1 - area**2) + (normal - 1) * (q2 - area**2)
    precision = float(average_precision_score(is_anomaly, values))
    return Detection(
        area, math.sqrt(max(variance, 0.0) / (anomalies * normal)), precision, anomalies / len(values)
    )

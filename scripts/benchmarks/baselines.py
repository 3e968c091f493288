"""Exact baselines compared with scikit-learn and with the matrix products that they require."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._report import InRounds, machine, markdown, ranged, write


@dataclass(frozen=True)
class Baselines(InRounds):
    """PPCA against scikit-learn's PCA, and an EM iteration and scores against their matrix products, in turns."""

    num_rows: int = 60_000
    """Number of rows of the table, float64."""
    num_columns: int = 784
    """Number of columns of the table."""
    n_components: int = 20
    """Size of z."""

    def run(self) -> None:
        """Time, print and write; threads are those of the process."""
        rows, values = [], {}
        for name, (ours, other) in self.cases().items():
            ours(), other()
            times = np.array([(_seconds(ours), _seconds(other)) for _ in range(self.rounds)])
            rows.append([name, *(ranged(1e3 * t) for t in times.T), ranged(times[:, 0] / times[:, 1])])
            values[name] = times.tolist()
        text = (
            f"{self.num_rows} x {self.num_columns}, {self.n_components} components, float64, {self.rounds} rounds; "
            f"{machine(self)}\n\n" + markdown(["ours / other", "ours, ms", "other, ms", "ratio"], rows)
        )
        write(self.out, "baselines", text, {"seconds": values})

    def cases(self) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
        """Return the pairs of timed functions, ours and the reference, by name."""
        from sklearn.decomposition import PCA

        from pyro_vae.baselines import PPCA
        from pyro_vae.baselines.ppca_em import _Problem

        q, generator = self.n_components, np.random.default_rng(0)
        x = generator.random((self.num_rows, self.num_columns))
        fitted = PPCA(q).fit(x)
        weight = np.ascontiguousarray(fitted.components_.T)
        z = x @ weight
        problem = _Problem(x, q)
        theta = problem.step(problem.start(np.random.RandomState(0)))[0]
        return {
            "PPCA.fit / PCA(svd_solver='covariance_eigh').fit": (
                lambda: PPCA(q).fit(x),
                lambda: PCA(q, svd_solver="covariance_eigh").fit(x),
            ),
            "an EM iteration / X W and X'Z": (lambda: problem.step(theta), lambda: (x @ weight, x.T @ z)),
            "score_samples / X W": (lambda: fitted.score_samples(x), lambda: x @ weight),
        }


def _seconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

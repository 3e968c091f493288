"""What stands between a guide's bound and log p(x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from pyro_vae._checks import check
from pyro_vae.plots._canvas import BLUE, VERMILION, new_figure

Number = tuple[float, float]


def guide_gaps(gaps: Mapping[str, tuple[Number, Number, Sequence[float]]], *, ax: Axes | None = None) -> Axes:
    """Draw the two gaps of each guide as a bar that hangs from log p(x), errors of one standard error.

    Args:
        gaps: By the guide's name its approximation gap and its amortization gap, each a mean and its standard
            error, and the sum of the two for each seed, which is drawn as a dot; nats per example.
        ax: Where to draw; a new figure by default.

    Raises:
        InputError: If there is no guide.
    """
    check(len(gaps) > 0, "Expected at least one guide; got none.")
    ax = new_figure(7, 0.5 * len(gaps) + 1.6).subplots() if ax is None else ax
    names = list(gaps)
    approximation, amortization, by_seed = zip(*gaps.values(), strict=True)
    left = [-value for value, _ in approximation]
    ax.barh(
        names,
        left,
        xerr=[error for _, error in approximation],
        color=BLUE,
        ecolor="black",
        capsize=3,
        label="approximation: the family",
    )
    ax.barh(
        names,
        [-value for value, _ in amortization],
        left=left,
        xerr=[error for _, error in amortization],
        color=VERMILION,
        ecolor="black",
        capsize=3,
        label="amortization: the encoder",
    )
    seeds = [(-total, place + 0.28) for place, totals in enumerate(by_seed) for total in totals]
    ax.plot(*zip(*seeds, strict=True), "o", color="black", markersize=3, label="each seed")
    ax.axvline(0, color="black", linewidth=1)
    ax.invert_yaxis()
    ax.set(title="What each guide leaves below log p(x)", xlabel="nats per example from log p(x)")
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / len(gaps) - 0.08), ncols=3, frameon=False)
    return ax

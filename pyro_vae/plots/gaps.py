"""Gaps between the bounds of guides and log p(x)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from pyro_vae._checks import check
from pyro_vae.plots._canvas import BLUE, VERMILION, new_figure

Number = tuple[float, float]
GREY = "#8c8c8c"


def guide_gaps(
    gaps: Mapping[str, tuple[Number | None, Number, Sequence[float]]], *, ax: Axes | None = None
) -> Axes:
    """Draw the two gaps of each guide as a bar that starts at log p(x), with errors of one standard error.

    Args:
        gaps: By the guide's name its approximation gap and its amortization gap, each a mean and its standard
            error, and the sum of the two for each seed, which is drawn as a dot; nats per example. If a gap cannot be
            decomposed, None and the whole gap, which is drawn grey.
        ax: Axes to draw into; a new figure by default.

    Raises:
        InputError: If there is no guide.
    """
    check(len(gaps) > 0, "Expected at least one guide; got none.")
    ax = new_figure(7, 0.5 * len(gaps) + 1.6).subplots() if ax is None else ax
    apart = {name: (first, rest) for name, (first, rest, _) in gaps.items() if first is not None}
    whole = {name: rest for name, (first, rest, _) in gaps.items() if first is None}
    places = {name: place for place, name in enumerate(gaps)}

    def bars(named: Mapping[str, Number], color: str, label: str, left: Sequence[float] | float = 0) -> None:
        if named:
            y, widths = [places[name] for name in named], [-value for value, _ in named.values()]
            errors = [error for _, error in named.values()]
            ax.barh(y, widths, left=left, xerr=errors, color=color, ecolor="black", capsize=3, label=label)

    first, rest = ({name: pair[part] for name, pair in apart.items()} for part in (0, 1))
    bars(first, BLUE, "approximation: the family")
    bars(rest, VERMILION, "amortization: the encoder", left=[-value for value, _ in first.values()])
    bars(whole, GREY, "not decomposed")
    seeds = [(-total, places[name] + 0.28) for name, (_, _, totals) in gaps.items() for total in totals]
    ax.plot(*zip(*seeds, strict=True), "o", color="black", markersize=3, label="each seed")
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(gaps)), list(gaps))
    ax.invert_yaxis()
    ax.set(title="What each guide leaves below log p(x)", xlabel="nats per example from log p(x)")
    ax.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.6 / len(gaps) - 0.08),
        ncols=2 if whole else 3,
        frameon=False,
    )
    return ax

"""Discrete codes: decoded states of each variable, and how often each state is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pyro_vae._checks import check
from pyro_vae.plots._canvas import BLUE, VERMILION, axes_or_new, to_array, to_rows
from pyro_vae.plots._mosaic import Range, centres, frame, show, to_grid, to_rgb

__all__ = ["code_tiles", "code_usage"]

MOST_ROWS = 40
"""Maximum number of variables drawn as cells; beyond it each variable is a point."""

LABEL = {"boxstyle": "square,pad=0.15", "facecolor": "white", "alpha": 0.75, "linewidth": 0}
"""Box behind a number on a tile."""


def code_tiles(
    decode: Callable[[np.ndarray], Any],
    states: Any,
    usage: Any,
    data_shape: Sequence[int],
    *,
    variables: Sequence[int],
    labels: Sequence[str] | None = None,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw one tile per state: the decoded mean as one variable takes each of its states and the others are fixed.

    Binary variables are drawn as columns, with the difference of both states below; other variables as rows. The state
    of the given code has a frame. Each tile shows the share of rows in its state.

    Args:
        decode: Maps states of shape (n, D), whole numbers, to means of shape (n, data_dim) or (n, *data_shape).
        states: The code that is varied: the state index of each variable, shape (D,).
        usage: Share of rows in each state, shape (D, S).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        variables: The variables that are varied, in drawing order.
        labels: One per variable; `z[0]`, `z[1]`, ... by default.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If a variable does not exist, or the shapes do not match.
    """
    shares, start, chosen = to_rows(usage, "usage"), to_array(states).astype(int), list(variables)
    labels = [f"z[{number}]" for number in chosen] if labels is None else list(labels)
    _check_code(start, chosen, labels, shares)
    count, num_states = shares.shape
    path = np.tile(start, (len(chosen), num_states, 1))
    path[np.arange(len(chosen)), :, chosen] = np.arange(num_states)
    rgb = to_rgb(decode(path.reshape(-1, count)), data_shape, value_range, "the decoded rows")
    own = np.arange(num_states) == start[chosen][:, None]
    draw = _draw_states if num_states > 2 else _draw_pairs
    ax = draw(rgb, own, shares[chosen], labels, ax)
    ax.set_title("One tile a state")
    return ax


def _check_code(start: np.ndarray, chosen: list[int], labels: list[str], shares: np.ndarray) -> None:
    """Raise `InputError` if a code, the variables to vary or their labels do not fit shares of shape (D, S)."""
    count, num_states = shares.shape
    check(
        start.shape == (count,) and bool(((start >= 0) & (start < num_states)).all()),
        f"Expected states of shape ({count},), from 0 to {num_states - 1}; got {start.tolist()[:5]}.",
    )
    check(
        len(chosen) > 0 and all(0 <= number < count for number in chosen),
        f"Expected variables from 0 to {count - 1}; got {chosen[:5]}.",
    )
    check(
        len(labels) == len(chosen),
        f"Expected a label for each variable; got {len(labels)} and {len(chosen)}.",
    )


def _draw_states(
    rgb: np.ndarray, own: np.ndarray, shares: np.ndarray, labels: list[str], ax: Axes | None
) -> Axes:
    """Draw a row of tiles for each variable; `own` marks the states of the code, shape (variables, S)."""
    grid = to_grid(rgb, *own.shape)
    ax = show(grid, ax)
    frame(ax, grid, own, color=VERMILION, linewidth=1.5)
    _write_shares(ax, grid, shares)
    ax.set_yticks(centres(grid, 0), labels)
    return ax


def _draw_pairs(
    rgb: np.ndarray, own: np.ndarray, shares: np.ndarray, labels: list[str], ax: Axes | None
) -> Axes:
    """Draw a column of tiles for each binary variable: its states and their difference."""
    grid = _pairs(rgb, len(own))
    ax = show(grid, ax)
    frame(ax, grid, np.vstack([own.T, np.zeros(len(own), bool)]), color=VERMILION, linewidth=1.5)
    texts = [f"{label}\n{share:.0%} on" for label, share in zip(labels, shares[:, 1], strict=True)]
    ax.set_xticks(centres(grid, 1), texts, fontsize="small")
    ax.set_yticks(centres(grid, 0), ["0", "1", "1 \N{MINUS SIGN} 0"])
    return ax


def _pairs(rgb: np.ndarray, variables: int) -> np.ndarray:
    """Return the tiles of binary variables as three rows: state 0, state 1 and their difference."""
    low, high = rgb.reshape(variables, 2, *rgb.shape[1:]).swapaxes(0, 1)
    difference = high - low
    return np.stack([low, high, 0.5 + difference / (2 * np.abs(difference).max() or 1)])


def _write_shares(ax: Axes, grid: np.ndarray, shares: np.ndarray) -> None:
    """Write the share of each tile into its upper left corner."""
    for y, row in zip(centres(grid, 0), shares, strict=True):
        for x, share in zip(centres(grid, 1), row, strict=True):
            corner = x - (grid.shape[3] - 1) / 2, y - (grid.shape[2] - 1) / 2
            ax.annotate(
                f"{share:.0%}", corner, (3, -3), textcoords="offset points", va="top", fontsize=6, bbox=LABEL
            )


def code_usage(usage: Any, information: Any, *, ax: Axes | None = None) -> Axes:
    """Draw the share of rows in each state of each variable, with the variable's perplexity and information.

    The perplexity is `exp(H(usage_d))`, 1 if one state is used, S if all are used equally. Binary variables, and more
    than 40 variables, are drawn as points: I(x; z_d) against usage, with the upper bound as a curve.

    Args:
        usage: Shape (D, S); each row sums to 1.
        information: I(x; z_d) of each variable, nats, shape (D,).
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If the shapes do not match.
    """
    shares, known = to_rows(usage, "usage"), to_array(information).ravel()
    count, num_states = shares.shape
    check(len(known) == count, f"Expected information of {count} variables; got {len(known)}.")
    perplexity = np.exp(_entropy(shares))
    if num_states == 2:
        grid = np.linspace(0, 1, 201)
        most = grid, _entropy(np.stack([1 - grid, grid], axis=1))
        return _points(shares[:, 1], known, most, "share of rows with z = 1", ax)
    if count > MOST_ROWS:
        grid = np.linspace(1, num_states, 201)
        return _points(perplexity, known, (grid, np.log(grid)), "perplexity of the states", ax)
    ax = axes_or_new(ax, 2.6 + 0.4 * num_states, 1.3 + 0.26 * count)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=max(shares.max(), 2 / num_states), aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        ink = "white" if share > 0.6 * shares.max() else "black"
        ax.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=ink)
    ax.set(xlabel="state (percent of rows)", xticks=np.arange(num_states))
    ax.set_yticks(np.arange(count), [f"z[{number}]" for number in range(count)])
    right = ax.secondary_yaxis("right")
    texts = [f"{one:.1f}, {other:.1f} nats" for one, other in zip(perplexity, known, strict=True)]
    right.set_yticks(np.arange(count), texts)
    right.set_ylabel("perplexity, I(x; z)")
    right.tick_params(length=0)
    return ax


def _entropy(shares: np.ndarray) -> np.ndarray:
    """Return the entropy of each row, nats."""
    entropy: np.ndarray = -np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=1)
    return entropy


def _points(
    use: np.ndarray, known: np.ndarray, most: tuple[np.ndarray, np.ndarray], name: str, ax: Axes | None
) -> Axes:
    """Draw information against a measure of usage, with its upper bound as a curve."""
    ax = axes_or_new(ax, 5.2, 4.2)
    ax.plot(*most, color="0.5", linewidth=1, label="upper bound")
    ax.plot(use, known, "o", color=BLUE, alpha=0.6, markersize=5, label="a variable")
    ax.set(xlabel=name, ylabel="I(x; z), nats")
    ax.set_ylim(-0.03 * most[1].max(), 1.2 * most[1].max())
    ax.legend(loc="upper left", frameon=False)
    return ax

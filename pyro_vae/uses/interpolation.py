"""Paths between two codes."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer

__all__ = ["great_circle", "straight_line"]

OPPOSITE = 1e-6
"""Minimum angle in radians from opposite directions, for which the great circle is not unique."""


def straight_line(start: Tensor, end: Tensor, num_steps: int) -> Tensor:
    """Return `(1 - t) start + t end` for evenly spaced t from 0 to 1.

    Args:
        start: A code, shape (latent_dim,).
        end: Another code of the same shape.
        num_steps: Number of codes including both ends, at least 2.

    Returns:
        Shape (num_steps, latent_dim).

    Raises:
        InputError: If the shapes differ, or there are fewer than two steps.
    """
    t = _steps(start, end, num_steps)
    return torch.lerp(start, end, t)


def great_circle(start: Tensor, end: Tensor, num_steps: int) -> Tensor:
    """Return codes on the great circle through both directions, with linearly interpolated norms.

    With the angle a between the directions u and v the codes are `r(t) (sin((1 - t) a) u + sin(t a) v) / sin(a)`
    (Shoemake 1985; White 2016, section 2.1), `r(t) = (1 - t) |start| + t |end|`. Draws of a standard normal prior in
    many dimensions have norms near sqrt(latent_dim); a straight line between two of them passes through smaller norms.

    Args:
        start: A code, shape (latent_dim,).
        end: Another code of the same shape.
        num_steps: Number of codes including both ends, at least 2.

    Returns:
        Shape (num_steps, latent_dim).

    Raises:
        InputError: If the shapes differ, a code is 0, the directions are opposite, or there are fewer than two steps.
    """
    t = _steps(start, end, num_steps)
    norms = start.norm(), end.norm()
    check(
        bool(min(norms) > 0),
        "Expected codes other than 0, which has no direction; got 0. Use a straight line.",
    )
    u, v = start / norms[0], end / norms[1]
    # From half chords: accurate for small angles, unlike the arc cosine.
    angle = 2 * torch.atan2((u - v).norm(), (u + v).norm())
    check(
        bool(angle < torch.pi - OPPOSITE),
        "Expected directions that are not opposite, where the great circle is not unique. Use a straight line.",
    )
    radius = torch.lerp(norms[0], norms[1], t)
    if angle < OPPOSITE:
        return radius * u
    return radius * (torch.sin((1 - t) * angle) * u + torch.sin(t * angle) * v) / torch.sin(angle)


def _steps(start: Tensor, end: Tensor, num_steps: int) -> Tensor:
    check_integer(num_steps, "num_steps", minimum=2)
    check(
        start.ndim == 1 and start.shape == end.shape,
        f"Expected two codes of one shape (latent_dim,); got {tuple(start.shape)} and {tuple(end.shape)}.",
    )
    return torch.linspace(0, 1, num_steps, dtype=start.dtype, device=start.device).unsqueeze(-1)

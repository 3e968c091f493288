"""Guides by name."""

from __future__ import annotations

from collections.abc import Callable

from pyro_vae.guides.base import AmortizedGuide, MakeEncoder
from pyro_vae.settings.part import load_parts

__all__ = ["GUIDES", "MakeGuide"]

MakeGuide = Callable[[MakeEncoder, int], AmortizedGuide]
"""Function from an encoder factory and the size of z to a guide that starts near the diagonal normal."""

GUIDES: dict[str, MakeGuide] = load_parts("guide")
"""Guides by their name on the command line, as `pyro_vae.settings.guides` declares them."""

"""Checks of the settings of several latent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro_vae._checks import check
from pyro_vae.settings.checks import size

__all__ = ["check_layers", "hidden_sizes", "layer_sizes"]

NORMAL_ONLY = "diagonal"


def layer_sizes(value: Sequence[Any], name: str) -> None:
    """Check the sizes of several latent layers, or none."""
    check(
        len(value) != 1,
        f"Expected {name} with the sizes of at least two latent layers, such as {name} 100 50; got "
        f"{' '.join(map(str, value))}. For a single layer use --latent-dim.",
    )
    for each in value:
        size(each, f"every size of {name}")


def hidden_sizes(value: Sequence[Any], name: str) -> None:
    """Check the widths of hidden layers, or none."""
    for each in value:
        size(each, f"every width of {name}")


def check_layers(model: Any, config: Any) -> None:
    """Check the settings that depend on the number of latent layers.

    Args:
        model: A `ModelConfig`.
        config: The whole configuration.

    Raises:
        InputError: If two settings exclude each other.
    """
    if not model.layers:
        _check_unused(model)
        return
    given = " ".join(map(str, model.layers))
    check(
        model.latent_dim == type(model).latent_dim,
        f"Expected either --latent-dim or --layers; got --latent-dim {model.latent_dim} and --layers {given}. Leave "
        "out --latent-dim.",
    )
    check(
        model.inference != "ladder" or model.guide == NORMAL_ONLY,
        f"Expected --guide {NORMAL_ONLY} with --inference ladder, which multiplies normal densities; got {model.guide}."
        " Choose --inference bottom-up.",
    )
    check(
        model.inference != "ladder" or config.training.objective != "wake-sleep",
        "Expected another --objective than wake-sleep with --inference ladder: the guide shares layers with the model, "
        "but wake-sleep trains model and guide by different losses. Choose --inference bottom-up.",
    )
    check(
        model.prior != "vampprior" or model.inference == "ladder",
        "Expected another --prior than vampprior with --inference bottom-up: q(z given x) of the top layer has no "
        "closed form. Choose --inference ladder.",
    )
    for part in (model.guide, model.prior):
        check(
            part not in ("iaf", "spline", "flow") or min(model.layers) > 1,
            f"Expected --layers of at least 2 each with {part}, whose dimensions depend on each other; got {given}.",
        )


def _check_unused(model: Any) -> None:
    unused = {
        f"--layer-hidden {' '.join(map(str, model.layer_hidden))}": bool(model.layer_hidden),
        f"--inference {model.inference}": model.inference != type(model).inference,
        "--skip": model.skip,
    }
    for flag, is_given in unused.items():
        check(not is_given, f"Expected --layers with {flag}, which is for several latent layers; got none.")

"""Sample sites of a trace: selection, the plate of rows, and log-probabilities per row."""

from __future__ import annotations

from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from pyro.infer.inspect import site_is_deterministic
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.objectives.supports import contains, support_of

__all__ = [
    "AtLeaves",
    "AtValues",
    "WithoutScales",
    "data_plate",
    "data_site",
    "density_log_prob",
    "has_limits",
    "has_values_outside",
    "log_density",
    "reported_log_prob",
    "sample_sites",
    "score",
    "training_log_prob",
    "training_scale",
    "within_support",
]

Site = dict[str, Any]


def sample_sites(trace: Any) -> list[Site]:
    """Return a trace's sample sites, without subsampling sites of plates and `pyro.deterministic`."""
    sites = (site for site in trace.nodes.values() if site["type"] == "sample")
    return [site for site in sites if not (site_is_subsample(site) or site_is_deterministic(site))]


def data_plate(site: Site) -> Any:
    """Return the frame of the plate `"data"` that encloses a site.

    Raises:
        InputError: If the site is outside it, or in a sequential plate.
    """
    for plate in site["cond_indep_stack"]:
        if plate.name == "data" and plate.dim is not None:
            return plate
    raise InputError(
        f"Expected every sample site inside the plate 'data'; the site {site['name']!r} is outside it. "
        "Put it under `with pyro.plate('data', len(x)):`."
    )


def score(site: Site) -> None:
    """Compute a site's log-probability, without scale and mask, and store it as `unscaled_log_prob`."""
    site["unscaled_log_prob"] = site["fn"].log_prob(site["value"], *site["args"], **site["kwargs"])


def within_support(site: Site) -> None:
    """Set a site's log-probability to minus infinity if its value is outside the support.

    With validation off Pyro returns a number there, such as 1 for `Exponential(1).log_prob(-1)`.
    """
    site["unscaled_log_prob"] = _limited(site["fn"], site["value"], site["unscaled_log_prob"])


def has_limits(site: Site) -> bool:
    """Return whether a site's distribution is known to have a bounded support."""
    support = support_of(site["fn"])
    return support is not None and not contains(support)


def has_values_outside(site: Site) -> bool:
    """Return whether an unmasked value is outside the support of a site's distribution."""
    nothing = torch.zeros_like(site["unscaled_log_prob"])
    beyond: Tensor = scale_and_mask(_limited(site["fn"], site["value"], nothing), 1.0, site["mask"])
    return bool(beyond.isinf().any())


def log_density(distribution: Any, value: Tensor) -> Tensor:
    """Return a distribution's log-probability, minus infinity outside of its support."""
    return _limited(distribution, value, distribution.log_prob(value))


def _limited(distribution: Any, value: Tensor, log_prob: Tensor) -> Tensor:
    support = support_of(distribution)
    if support is None or contains(support):
        return log_prob
    # NaN values are neither inside nor outside: their log-probability is unchanged.
    unknown = value.isnan()
    if distribution.event_dim:
        unknown = unknown.flatten(-distribution.event_dim).any(-1)
    return torch.where(distribution.support.check(value) | unknown, log_prob, -torch.inf)


def reported_log_prob(site: Site) -> Tensor:
    """Return a site's log-probability with its mask and without scale, nats."""
    log_prob: Tensor = scale_and_mask(site["unscaled_log_prob"], 1.0, site["mask"])
    return log_prob


def density_log_prob(site: Site) -> Tensor:
    """Return `reported_log_prob`, minus infinity if the value is outside the support of its distribution."""
    limited = _limited(site["fn"], site["value"], site["unscaled_log_prob"])
    log_prob: Tensor = scale_and_mask(limited, 1.0, site["mask"])
    return log_prob


def training_log_prob(site: Site) -> Tensor:
    """Return a site's log-probability with its mask and the scale of `poutine.scale`."""
    log_prob: Tensor = scale_and_mask(site["unscaled_log_prob"], training_scale(site), site["mask"])
    return log_prob


def training_scale(site: Site) -> Any:
    """Return the scale of `poutine.scale`, without the factor `size / rows` of a plate `"data"`.

    The loss is in nats per example, so it does not grow with the data set.
    """
    plate = data_plate(site)
    if plate.full_size is None or plate.full_size == plate.size:
        return site["scale"]
    return site["scale"] / (1.0 * plate.full_size / plate.size)


class AtValues(Messenger):
    """Run a program at given values of its latent sites.

    Args:
        values: Values by site.
    """

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.values and not msg["is_observed"]:
            msg["value"], msg["done"] = self.values[msg["name"]], True


class AtLeaves(Messenger):
    """Replace each sample of a program by a leaf tensor, so that no gradient flows through it.

    Later sites of the same run are computed from the leaf.
    """

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, Tensor] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        if not (site_is_subsample(msg) or msg["is_observed"]):
            leaf = msg["value"].detach()
            msg["value"] = self.values[msg["name"]] = leaf.requires_grad_(leaf.is_floating_point())


class WithoutScales(Messenger):
    """Set the scales of all sites to 1, so that log-probabilities are those of the densities."""

    def _pyro_sample(self, msg: Any) -> None:
        msg["scale"] = 1.0


def data_site(trace: Any, x: Tensor) -> Site:
    """Return the one site, in a trace of an unconditioned model, that observed the rows `x`.

    Raises:
        InputError: If the model observes several sites, or a value whose shape is not that of the rows.
    """
    observed = [site for site in sample_sites(trace) if site["infer"].get("was_observed")]
    check(
        len(observed) == 1 and observed[0]["value"].numel() == x.numel(),
        f"Expected one observed site of the shape of x, {tuple(x.shape)}, to draw rows from the model; the model "
        f"observes {[(site['name'], tuple(site['value'].shape)) for site in observed]}. Expand that site to the shape "
        "of x.",
    )
    return observed[0]

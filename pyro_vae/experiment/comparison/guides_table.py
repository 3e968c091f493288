"""The table of a comparison of guides, and the result of the checks of its order."""

from __future__ import annotations

from collections.abc import Sequence

from pyro_vae.experiment.comparison.guide_order import Claim
from pyro_vae.experiment.comparison.guide_scores import GuideScore

__all__ = ["guide_rows", "order_lines"]


def guide_rows(scores: Sequence[GuideScore]) -> list[list[str]]:
    """Return the table of the guides, its header first."""
    header = ["ELBO", "gain", "train ELBO", "log p(x)", "k-hat > 0.7", "approximation", "amortization"]
    rows = [
        [
            score.name,
            f"{score.elbo.value:.2f} ± {score.elbo.se:.2f}",
            f"{score.gain.value:+.3f} ± {score.gain.se:.3f}",
            f"{score.train_elbo.value:.2f} ± {score.train_elbo.se:.2f}",
            f"{score.log_likelihood.value:.2f} ± {score.log_likelihood.se:.2f}",
            f"{score.unreliable:.0%}",
            str(score.approximation_gap),
            str(score.amortization_gap),
            str(score.parameters),
            f"{score.seconds:.3g}",
        ]
        for score in scores
    ]
    return [["guide", *header, "parameters", "seconds"], *rows]


def order_lines(claims: Sequence[Claim]) -> list[str]:
    """Return a summary of the checks, and a line for each violation."""
    held = sum(claim.holds for claim in claims)
    text = (
        f"Order: {held} of {len(claims)} inequalities hold within two standard errors (a richer guide is not below a "
        "poorer one that it contains, a row's best not below its guide, nothing above log p(x))."
    )
    return [text, *(f"  violated: {claim}" for claim in claims if not claim.holds)]

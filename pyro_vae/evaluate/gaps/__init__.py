"""Decomposition of the gap between the ELBO and log p(x)."""

from pyro_vae.evaluate.gaps.estimates import InferenceGaps, RowEstimate
from pyro_vae.evaluate.gaps.families import RowFit
from pyro_vae.evaluate.gaps.inference import inference_gaps

__all__ = ["InferenceGaps", "RowEstimate", "RowFit", "inference_gaps"]

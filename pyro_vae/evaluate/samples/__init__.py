"""Samples of a trained model: where z is drawn from, and how far the samples are from the data."""

from pyro_vae.evaluate.samples.code_mixture import (
    CodeMixture,
    sampling_model,
    training_codes,
    with_code_mixture,
)

__all__ = ["CodeMixture", "sampling_model", "training_codes", "with_code_mixture"]

"""Neural networks from tensors to tensors, independent of Pyro."""

from pyro_vae.networks.architecture import Architecture, MLPArchitecture
from pyro_vae.networks.bfloat16 import Bfloat16Training, has_fast_bfloat16
from pyro_vae.networks.context import context_columns
from pyro_vae.networks.convolutional import ConvolutionalArchitecture
from pyro_vae.networks.corruption import (
    CorruptedInput,
    Corruption,
    GaussianNoise,
    Masking,
    SaltAndPepper,
    rows_as_given,
)
from pyro_vae.networks.leading_columns import LeadingColumns
from pyro_vae.networks.linear import LinearEncoder
from pyro_vae.networks.mlp import ACTIVATIONS, MLP, ContextMLP, mlp_decoder, mlp_encoder, shrink_outputs
from pyro_vae.networks.positive import UNIT
from pyro_vae.networks.standardize import Standardize, StandardizedEncoder, Whiten

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "UNIT",
    "Architecture",
    "Bfloat16Training",
    "ContextMLP",
    "ConvolutionalArchitecture",
    "CorruptedInput",
    "Corruption",
    "GaussianNoise",
    "LeadingColumns",
    "LinearEncoder",
    "MLPArchitecture",
    "Masking",
    "SaltAndPepper",
    "Standardize",
    "StandardizedEncoder",
    "Whiten",
    "context_columns",
    "has_fast_bfloat16",
    "mlp_decoder",
    "mlp_encoder",
    "rows_as_given",
    "shrink_outputs",
]

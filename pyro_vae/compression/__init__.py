"""Lossless compression of rows under a trained model: bits-back coding."""

from pyro_vae.compression.codec import BitsBackCodec, Encoded
from pyro_vae.compression.level_probs import column_groups, level_probs
from pyro_vae.compression.sizes import other_sizes

__all__ = ["BitsBackCodec", "Encoded", "column_groups", "level_probs", "other_sizes"]

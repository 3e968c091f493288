"""Lossless compression of rows under a trained model: bits-back coding."""

from pyro_vae.compression.codec import BitsBackCodec, Encoded
from pyro_vae.compression.digit_probs import Digit, digit_probs, digits_of
from pyro_vae.compression.sizes import other_sizes

__all__ = ["BitsBackCodec", "Digit", "Encoded", "digit_probs", "digits_of", "other_sizes"]

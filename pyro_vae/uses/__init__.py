"""What a trained model is used for: codes of rows, new rows, paths between rows, denoised and completed rows."""

from pyro_vae.uses.denoising import DenoisedRows, denoise_rows
from pyro_vae.uses.encoding import Codes, encode_rows
from pyro_vae.uses.generation import generate_rows
from pyro_vae.uses.interpolation import great_circle, straight_line

__all__ = [
    "Codes",
    "DenoisedRows",
    "denoise_rows",
    "encode_rows",
    "generate_rows",
    "great_circle",
    "straight_line",
]

"""Uses of a trained model: encoding, generation, interpolation, denoising and inpainting."""

from pyro_vae.uses.denoising import DenoisedRows, denoise_rows
from pyro_vae.uses.encoding import Codes, encode_rows
from pyro_vae.uses.generation import generate_rows
from pyro_vae.uses.inpainting import FittedProposals, fit_proposals, inpaint_rows
from pyro_vae.uses.interpolation import great_circle, straight_line
from pyro_vae.uses.pseudo_gibbs import PseudoGibbs

__all__ = [
    "Codes",
    "DenoisedRows",
    "FittedProposals",
    "PseudoGibbs",
    "denoise_rows",
    "encode_rows",
    "fit_proposals",
    "generate_rows",
    "great_circle",
    "inpaint_rows",
    "straight_line",
]

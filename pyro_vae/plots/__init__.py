"""Pictures of a training run: arrays in, matplotlib Axes and Figures out.

No function changes pyplot, the backend or `rcParams`. Pass `ax=` (or `figure=` for plots of several panels) to draw
into existing axes; by default a new figure is made.
"""

from pyro_vae.plots._canvas import save
from pyro_vae.plots.codes import code_tiles, code_usage
from pyro_vae.plots.comparison import climbs
from pyro_vae.plots.conditions import classes_by_style, completions
from pyro_vae.plots.denoising import denoising
from pyro_vae.plots.epoch_curves import training_curves
from pyro_vae.plots.gaps import guide_gaps
from pyro_vae.plots.image_files import write_images
from pyro_vae.plots.images import (
    best_and_worst,
    ranked,
    reconstructions,
    samples,
    samples_and_means,
    samples_by_source,
)
from pyro_vae.plots.latent import latent_space, latent_space_3d, widest_dimensions
from pyro_vae.plots.layers import redrawn_layers
from pyro_vae.plots.sample_curves import sample_quality_curves
from pyro_vae.plots.tables import marginals, pair_plot
from pyro_vae.plots.traversals import traversal_grid, traversal_rows

__all__ = [
    "best_and_worst",
    "classes_by_style",
    "climbs",
    "code_tiles",
    "code_usage",
    "completions",
    "denoising",
    "guide_gaps",
    "latent_space",
    "latent_space_3d",
    "marginals",
    "pair_plot",
    "ranked",
    "reconstructions",
    "redrawn_layers",
    "sample_quality_curves",
    "samples",
    "samples_and_means",
    "samples_by_source",
    "save",
    "training_curves",
    "traversal_grid",
    "traversal_rows",
    "widest_dimensions",
    "write_images",
]

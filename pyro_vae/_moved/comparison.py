"""`pyro_vae.comparison` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.comparison": "MODELS NAMES SCORED_ROWS SCORED_SAMPLES Comparison Entry "
        "LinearVAE compare exact_baselines fit_baseline fit_linear_vae fit_vae linear_baselines mean_and_se score_some",
    },
)

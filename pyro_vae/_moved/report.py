"""`pyro_vae.report` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.closing_table": "closing_table",
        "pyro_vae.experiment.comparison.comparison_table": "comparison_table write_comparison",
        "pyro_vae.experiment.provenance": "split_facts test_facts",
        "pyro_vae.experiment.opening_lines": "opening_lines",
        "pyro_vae.experiment.text_table": "bits_per_dim format_table nats",
    },
)

"""Modules of `pyro_vae.evaluate` under their old names."""

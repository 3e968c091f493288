"""Modules of `pyro_vae.data` under their old names."""

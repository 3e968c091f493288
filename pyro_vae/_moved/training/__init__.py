"""Modules of `pyro_vae.training` under their old names."""

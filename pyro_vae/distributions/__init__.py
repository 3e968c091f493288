"""Distributions missing from torch and Pyro, and invertible maps."""

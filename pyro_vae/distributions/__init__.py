"""Distributions that torch and Pyro lack, and invertible maps."""

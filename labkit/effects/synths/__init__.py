"""Synthesizers: a vector of settings becomes a sound."""

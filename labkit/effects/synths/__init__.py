"""Synthesizers: parameter sets, patches to sound, presets."""

"""Synth matching: from a sound to the settings of a synthesizer that makes it."""

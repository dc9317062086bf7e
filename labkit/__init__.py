"""labkit: the small tested package behind a lab course in neural audio effects."""

__version__ = "0.1.0"

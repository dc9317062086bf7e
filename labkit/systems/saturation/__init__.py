"""Saturation: which curve bent a sound, and how deeply, from clean and wet or from wet alone."""

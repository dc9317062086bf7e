"""Networks that turn the knobs of real effects, which have no gradient."""

"""Numbers that the processor's kernels and the GPU's share; neither numba nor triton is needed to read them."""

# Envelopes: added to every rectified sample. Inaudible (-600 dB), it keeps a decaying envelope out of the subnormal
# numbers, which processors handle a hundred times slower, and square roots of it away from the infinite slope at 0.
FLOOR = 1e-30

# Biquads: the original renders in blocks of so many samples and drops what is left below this between them.
BIQUAD_BLOCK = 8192
BIQUAD_DROPPED = 1e-8

# The phaser: its allpasses, and the samples for which they keep their coefficient.
STAGES = 6
UPDATE_EVERY = 4
# Chorus and phaser: what circulates below this (-600 dB) is taken for silence.
SILENT = 1e-30

# The reverb: the original adds and subtracts this wherever it stores a sample, which rounds what is stored to a
# multiple of 7.5e-9 in float32: a decaying room ends in silence instead of subnormal numbers.
ROUNDED_BY = 0.1
# Of every allpass in it.
ALLPASS_FEEDBACK = 0.5

# The ladder: its tangent is read off straight lines between so many points, evenly spaced over -5 to 5.
POINTS = 128
REACH = 5.0
# Zeros and poles of a stage: a zero at z = -0.3, which brings the phase of an analogue stage closer.
HERE, BEFORE = 0.76923076923, 0.23076923076
# What a lane's state holds: the sum that enters the ladder, then the output of each stage.
STATES = 5
# Samples between two looks for states near zero, and below what they are dropped.
LADDER_BLOCK = 256
LADDER_DROPPED = 1e-30
# Overdriven far enough (a drive of 100 at full resonance and an open filter) the loop is chaotic, and what a sample is
# worth to those much later grows without end. Held here it stays finite; useful gradients lie far below.
LIMIT_BACKWARD = 1e15

"""Wrong answers to notebook 01 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import math

frames = RIGHT["01.2"]


def power_of_two(ratio):
    return 2 ** math.ceil(math.log2(ratio))


WRONG = [
    ("01.1", lambda rate, hz: 2048, "0.93 bins apart"),
    ("01.1", lambda rate, hz: power_of_two(rate / hz), "look like one"),
    ("01.1", lambda rate, hz: power_of_two(2 * rate / hz), "2.32 bins apart"),
    ("01.1", lambda rate, hz: 65536, "lasts 1486 ms"),
    ("01.1", lambda rate, hz: math.ceil(2.5 * rate / hz), "must be a power of two, got 5513"),
    ("01.1", lambda rate, hz: rate / 0, "your function raised ZeroDivisionError: division by zero"),
    ("01.1", lambda rate, hz: "8192", "n_fft must be one finite number, got str '8192'"),
    ("01.2", lambda n, n_fft, hop, center: n // hop, "expected 87, you say 86"),
    ("01.2", lambda n, _, hop, center: 1 + n // hop, "center = False, frames of torch.stft"),
    ("01.2", lambda n, n_fft, hop, center: 1 + (n - n_fft) // hop, "center = True"),
    ("01.2", lambda n, n_fft, hop, center: 1 + n / hop, "must be a whole number"),
    ("01.3", lambda window, hop: len(window) / hop, "the frames add up: expected 2, you say 4"),
    ("01.3", lambda window, hop: (window**2).sum() / hop, "expected 2, you say 1.5"),
    ("01.3", lambda window, hop: 2.0, "Hann, hop n_fft/2, the factor by which"),
    ("01.3", lambda window, hop: window / hop, "must be one finite number, got shape (1024,)"),
]

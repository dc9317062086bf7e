"""Wrong answers to notebook 01 that people give: (exercise, answer, part of what is said).

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import math

import numpy as np

dft_bin, frames, stft = RIGHT["01.1"], RIGHT["01.2"], RIGHT["01.3"]
overlap_add, istft = RIGHT["01.6"], RIGHT["01.7"]
mel_filters, griffin_lim = RIGHT["01.8"], RIGHT["01.9"]


def power_of_two(ratio):
    return 2 ** math.ceil(math.log2(ratio))


def without_padding(audio, window, hop):
    return stft(audio[len(window) // 2 : -len(window) // 2], window, hop)


def overwriting(frames, hop):
    audio = np.zeros((len(frames) - 1) * hop + frames.shape[1])
    for m, frame in enumerate(frames):
        audio[m * hop : m * hop + len(frame)] = frame
    return audio


def one_window(cells, window, hop, length):
    half, n = len(window) // 2, cells.shape[1]
    added = overlap_add(np.fft.irfft(cells.T), hop)
    return (added / overlap_add(np.tile(window, (n, 1)), hop).clip(1e-9))[half:][:length]


def undivided(cells, window, hop, length):
    frames = np.fft.irfft(cells.T) * window
    return overlap_add(frames, hop)[len(window) // 2 :][:length]


def divided_by_one_window(cells, window, hop, length):
    weight = overlap_add(np.tile(window, (cells.shape[1], 1)), hop)[len(window) // 2 :][:length]
    return undivided(cells, window, hop, length) / weight


def mirrored_ends(audio, window, hop):
    padded = np.pad(audio, len(window) // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window))[::hop]
    return np.fft.rfft(frames * window).T


def mean_where_frames_overlap(frames, hop):
    return overlap_add(frames, hop) / overlap_add(np.ones(frames.shape), hop)


def padding_left(cells, window, hop, length):
    longer = istft(cells, window, hop, length)
    return np.pad(longer, (len(window) // 2, 0))[:length]


def equal_in_hz(n_mels, n_fft, rate, low_hz):
    hz = np.linspace(low_hz, rate / 2, n_mels + 2)[:, None]
    bins, step = np.fft.rfftfreq(n_fft, 1 / rate), hz[1] - hz[0]
    return np.clip(np.minimum((bins - hz[:-2]) / step, (hz[2:] - bins) / step), 0, None)


def unit_area(*sizes):
    bank = mel_filters(*sizes)
    return bank / bank.sum(1, keepdims=True)


def magnitude_forgotten(magnitude, phase, rounds, to_sound, to_cells):
    cells = magnitude * np.exp(1j * phase)
    for _ in range(rounds):
        cells = to_cells(to_sound(cells))
    return to_sound(cells)


WRONG = [
    ("01.1", lambda x, k: dft_bin(x, k).conjugate(), "a sine of 5 cycles, k = 5: expected"),
    ("01.1", lambda x, k: dft_bin(x, k).conjugate(), "the other sign"),
    ("01.1", lambda x, k: abs(dft_bin(x, k)), "without the phase"),
    ("01.1", lambda x, k: dft_bin(x, k) / len(x), "divided by the number of samples"),
    ("01.1", lambda x, k: dft_bin(x, k).real, "a sine of 5 cycles"),
    ("01.1", lambda x, k: dft_bin(x[:64], k), "100 samples of noise, k = 3: expected"),
    ("01.1", lambda x, k: dft_bin(x, -k), "expected 0-32j, you say 0+32j"),
    ("01.1", lambda x, k: np.fft.rfft(x), "must be one finite number, got shape (33,)"),
    ("01.2", lambda n, n_fft, hop, center: n // hop, "expected 87, you say 86"),
    ("01.2", lambda n, _, hop, center: 1 + n // hop, "center = False, frames of torch.stft"),
    ("01.2", lambda n, n_fft, hop, center: 1 + (n - n_fft) // hop, "center = True"),
    ("01.2", lambda n, n_fft, hop, center: 1 + n / hop, "must be a whole number"),
    ("01.3", lambda x, w, hop: stft(x, np.ones(len(w)), hop), "not windowed"),
    ("01.3", lambda x, w, hop: stft(x, w, hop).T, "must be an array of shape (65, 32), got shape"),
    ("01.3", lambda x, w, hop: np.abs(stft(x, w, hop)), "without the phase"),
    ("01.3", lambda *given: stft(*given).tolist(), "must be a numpy.ndarray, got list"),
    ("01.3", mirrored_ends, "padded by zeros"),
    ("01.3", lambda x, w, hop: stft(x, w, len(w) // 4), "777 samples, n_fft = 64, hop_length = 24"),
    ("01.3", without_padding, "must be an array of shape (65, 32), got shape (65, 28)"),
    ("01.4", lambda rate, hz: 2048, "0.93 bins apart"),
    ("01.4", lambda rate, hz: power_of_two(rate / hz), "look like one"),
    ("01.4", lambda rate, hz: power_of_two(2 * rate / hz), "2.32 bins apart"),
    ("01.4", lambda rate, hz: power_of_two(4 * rate / hz), "half of that already is"),
    ("01.4", lambda rate, hz: 65536, "lasts 1486 ms"),
    ("01.4", lambda rate, hz: math.ceil(2.5 * rate / hz), "must be a power of two, got 5513"),
    ("01.4", lambda rate, hz: rate / 0, "your function raised ZeroDivisionError: division by zero"),
    ("01.4", lambda rate, hz: "8192", "n_fft must be one finite number, got str '8192'"),
    ("01.5", lambda window, hop: len(window) / hop, "the frames add up: expected 2, you say 4"),
    ("01.5", lambda window, hop: (window**2).sum() / hop, "expected 2, you say 1.5"),
    ("01.5", lambda window, hop: 2.0, "Hann, hop n_fft/2, the factor by which"),
    ("01.5", lambda window, hop: window / hop, "must be one finite number, got shape (128,)"),
    ("01.6", overwriting, "overwrites the one before"),
    ("01.6", lambda frames, hop: overlap_add(frames, hop) * hop / frames.shape[1], "a mean"),
    ("01.6", mean_where_frames_overlap, "you took a mean"),
    ("01.6", lambda frames, hop: overlap_add(frames, frames.shape[1]), "shape (8,), got shape (12"),
    ("01.7", one_window, "each frame meets the window once more"),
    ("01.7", padding_left, "n_fft / 2 zeros are in front"),
    ("01.7", undivided, "did not divide"),
    ("01.7", divided_by_one_window, "the square of the window"),
    ("01.8", equal_in_hz, "equally wide in Hz"),
    ("01.8", unit_area, "each triangle sums to 1"),
    ("01.8", lambda *sizes: mel_filters(*sizes).T, "must be an array of shape (8, 129)"),
    ("01.9", magnitude_forgotten, "put the wanted magnitude back"),
    ("01.9", lambda m, p, n, *tools: griffin_lim(m, p, n + 1, *tools), "one round too many"),
    ("01.9", lambda m, p, n, *tools: griffin_lim(m, 0 * p, n, *tools), "0 rounds: griffin_lim"),
]

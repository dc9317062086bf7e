"""Answers to notebook 02 that people give: wrong ones, with part of what is said, and right ones.

`RIGHT` holds the answers of the solutions notebook.
"""

# ruff: noqa: ARG001, ARG005, F821 - a wrong answer often ignores what it was given; RIGHT is given

import dataclasses
import itertools
import math

import numpy as np
import torch
from scipy.signal import fftconvolve

from labkit.effects.kernels import batched
from labkit.effects.parameters import space

held_out, tremolo, pedal = RIGHT["02.1"], RIGHT["02.3"], RIGHT["02.4"]()


def by_clip(sources, share, seed):
    return np.random.default_rng(seed).random(len(sources)) < share


def unseeded(sources, share, seed):
    return held_out(sources, share, int(np.random.default_rng().integers(2**31)))


def to_peak(audio, peak_db):
    peak = np.abs(audio).max()
    return audio * (10 ** (peak_db / 20) / peak) if peak > 0 else audio


def per_channel(dry, effect, peak_db):
    return np.stack([to_peak(channel, peak_db) for channel in effect(dry)])


def unsafe(dry, effect, peak_db):
    wet = effect(dry)
    return wet / np.abs(wet).max() * 10 ** (peak_db / 20)


def changed(**fields):
    return lambda: dataclasses.replace(pedal, **fields)


def offset(audio, sample_rate, rate_hz, depth):
    return audio + depth[:, None, None]


def sine(audio, sample_rate, rate_hz, depth):
    seconds = torch.arange(audio.shape[-1]) / sample_rate
    swing = torch.sin(2 * torch.pi * rate_hz[:, None, None] * seconds)
    return audio * (1 + depth[:, None, None] * swing)


def echo(audio, sample_rate, rate_hz, depth):
    late = torch.nn.functional.pad(audio, (sample_rate // 20, 0))[..., : audio.shape[-1]]
    return audio + rate_hz[:, None, None] * depth[:, None, None] * late


def echo_of_50_ms(memory_ms):
    return changed(differentiable=batched(echo), time_invariant=True, memory_ms=memory_ms)


def in_numpy(audio, *knobs):
    return tremolo(audio, *knobs).numpy()


def rms(audio):
    return np.sqrt(np.mean(audio**2))


def by_channel(audio, noise, snr_db):
    parts = zip(audio[:, None], noise[:, None], strict=True)
    return np.concatenate([RIGHT["02.7"](*part, snr_db) for part in parts])


def circular(audio, impulse):
    spectrum = np.fft.rfft(audio) * np.fft.rfft(impulse, audio.shape[1])
    return np.fft.irfft(spectrum, audio.shape[1])


def halved(pedals, pairs):
    return math.ceil(math.factorial(len(pedals)) / 2 ** len(pairs))


def one_swap(pedals, pairs):
    """Orders without a commuting neighbour pair out of the alphabet: misses moves of two steps."""
    return sum(
        not any({a, b} in pairs and a < b for a, b in itertools.combinations(order, 2))
        for order in itertools.permutations(pedals)
    )


ALSO_RIGHT = [("02.4", echo_of_50_ms(50.0)), ("02.4", echo_of_50_ms(float("inf")))]
WRONG = [
    ("02.1", by_clip, "of 200 guitars have clips on both sides"),
    ("02.1", lambda names, *_: [False] * len(names), "share = 0.2: 0 % of the guitars are held"),
    ("02.1", unseeded, "the same seed gave another split"),
    ("02.1", lambda names, share, _: held_out(names, share, 7), "seeds 0 and 1 gave the same"),
    ("02.1", lambda *_: [True], "held_out must be an array of shape (1200,), got list [True]"),
    ("02.1", lambda *_: [[True], []], "held_out must be an array of shape (1200,)"),
    ("02.2", lambda u, low, high: low + u * (high - low), "that is the linear scale"),
    ("02.2", lambda u, low, high: low * 10**u, "the ratio of the ends is high / low, not 10"),
    (
        "02.2",
        lambda u, low, high: high,
        "position 0 between 80 and 5120: expected 80, you say 5120",
    ),
    ("02.3", sine, "depth 0.4 turns 1 down to 0.60 and up to 1.40"),
    ("02.3", lambda x, sr, hz, d: tremolo(x, sr, hz / 6.2832, d), "0.60 and 1.00"),
    ("02.3", lambda x, sr, hz, d: tremolo(x, sr, 2 * hz, d), "is a period 1 / rate_hz?"),
    ("02.3", lambda x, sr, hz, d: tremolo(x, sr, hz[:1], d), "(item 1): is a period 1 / rate_hz?"),
    ("02.3", lambda x, sr, hz, d: tremolo(x.flip(-1), sr, hz, d).flip(-1), "is multiplied by 0.6"),
    ("02.3", in_numpy, "must be a torch.Tensor, got ndarray"),
    ("02.4", changed(space={"rate_hz": (1, 6)}), "its knobs must be a `space(...)`, got dict"),
    ("02.4", echo_of_50_ms(0.0), "memory_ms=0.0 is declared, but renders with and without"),
    ("02.4", echo_of_50_ms(10.0), "memory_ms=10.0 is declared, but what is older still makes"),
    ("02.4", changed(time_invariant=True), "time_invariant=True is declared, but a clip and the"),
    ("02.4", changed(linear=False), "linear=False is declared, but two clips together and the sum"),
    ("02.4", changed(memory_ms=50.0), "memory_ms=50.0 is declared, but renders with and without"),
    ("02.4", changed(name="chorus"), "the name 'chorus' is taken by one of"),
    ("02.4", changed(name="tremolo"), "the name 'tremolo' is taken by one of"),
    ("02.4", changed(differentiable=batched(offset)), "silence does not stay 0"),
    ("02.4", changed(space=space(rate_hz=(1, 2), mix=(0, 1))), "rendering 1 clip raised TypeError"),
    ("02.4", lambda: tremolo, "the answer must be an Effect, got function"),
    ("02.5", lambda pedals, _: math.factorial(len(pedals)), "in 6 orders: expected 1, you say 6"),
    ("02.5", halved, "in 6 orders: expected 4, you say 3"),
    ("02.5", one_swap, "different sounds of"),
    ("02.5", lambda pedals, pairs: 2 ** len(pedals), "no pair commuting, in 6 orders: expected 6"),
    ("02.6", lambda dry, effect, db: effect(to_peak(dry, db)), "the wet peak is -3.1"),
    ("02.6", lambda dry, effect, db: to_peak(effect(to_peak(dry, 0.0)), db), "at another level"),
    ("02.6", per_channel, "the right channel moved"),
    ("02.6", unsafe, "the wet clip of the silence holds 8000 NaN"),
    ("02.6", lambda dry, effect, db: effect(dry), "dBFS, -1 was asked for"),
    ("02.6", lambda dry, effect, db: to_peak(effect(dry).mean(0), db), "got shape (4000,)"),
    ("02.7", lambda audio, noise, db: audio + noise * 10 ** (-db / 20), "divide by its RMS"),
    ("02.7", lambda x, n, db: x + n * rms(x) / rms(n) * 10 ** (-db / 10), "10 ** (dB / 20)"),
    ("02.7", lambda x, n, db: x + n * rms(x) / rms(n) * 10 ** (db / 20), "a high SNR is little"),
    ("02.7", lambda x, n, db: x + n * abs(x).max() / abs(n).max() / 10 ** (db / 20), "not peaks"),
    (
        "02.7",
        lambda x, n, db: x + n * x.std() / n.std() / 10 ** (db / 20),
        "expected 0.152118, you say 0.152124",
    ),
    ("02.7", by_channel, "over both channels"),
    ("02.8", circular, "the end came round to the start"),
    ("02.8", lambda x, h: np.stack([np.convolve(c, h) for c in x]), "got shape (2, 3799)"),
    ("02.8", lambda x, h: fftconvolve(x, h[None], "same", axes=-1), "that is the middle"),
]

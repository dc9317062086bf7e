"""Baselines without a network: two rules that copy spectrum and loudness of references; searches.

Source: Steinmetz, Bryan and Reiss 2022, section 4. Ours has pedalboard's compressor.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy import signal

from labkit.effects.effect import process
from labkit.effects.hosts.plugin import Rack
from labkit.learn.minimise import minimise
from labkit.measure.losses import mr_stft
from labkit.measure.loudness import loudness_lufs, peak_db
from labkit.signal.optional import need
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude
from labkit.systems.blackbox import data
from labkit.systems.blackbox.config import Config

_N_FFT, _SMOOTH_BINS, _N_TAPS = 65_536, 1025, 63
_N_CONSTANT, _SPREAD = 12, 0.1
_STEP_DB, _N_STEPS, _TOLERANCE_LU = 0.5, 120, 0.05

# Average power per bin in dB, loudness in LUFS, peak in dBFS.
Style = tuple[np.ndarray, float, float]


def style_of(clips: Sequence[np.ndarray], sample_rate: int) -> Style:
    """The mean style of audible recordings, each (channels, samples)."""
    spectra = []
    for clip in clips:
        frame = min(clip.shape[1], _N_FFT)
        _, power = signal.welch(clip, sample_rate, nperseg=frame, nfft=_N_FFT, detrend=False)
        level_db = 10 * np.log10(power.mean(0) + 1e-20)
        spectra.append(signal.savgol_filter(level_db, _SMOOTH_BINS, 1))
    loudness = float(np.mean([loudness_lufs(clip, sample_rate) for clip in clips]))
    return np.mean(spectra, axis=0), loudness, float(np.mean([peak_db(clip) for clip in clips]))


def match(audio: np.ndarray, sample_rate: int, style: Style) -> np.ndarray:
    """The recording (channels, samples) with the style's spectrum, loudness and peak, float32.

    A linear-phase filter first. Then the highest threshold of a compressor (ratio 3) at which the
    sound, at the style's peak, is loud enough; a gain removes the excess.
    """
    spectrum_db, loudness, peak = style
    change_db = spectrum_db - style_of([audio], sample_rate)[0]
    # A filter should not raise the noise where the recording has nothing else.
    response = db_to_amplitude(np.clip(change_db, -24.0, 24.0))
    taps = signal.firwin2(_N_TAPS, np.linspace(0, 1, len(response)), response)
    filtered = signal.oaconvolve(audio, taps[None], mode="same", axes=1).astype(np.float32)

    def compressed(step: int) -> tuple[np.ndarray, float, float]:
        """The sound, its gain to the style's peak in dB, its loudness there above the style's."""
        out = filtered
        if step:
            plugin = need("pedalboard").Compressor(-_STEP_DB * step, 3.0, 5.0, 100.0)
            out = process(plugin, filtered, sample_rate)
        gain_db = peak - peak_db(out)
        return out, gain_db, loudness_lufs(out, sample_rate) + gain_db - loudness

    low, step = -1, 0  # not loud enough; loud enough, or all there is
    if compressed(0)[2] < -_TOLERANCE_LU:
        low, step = 0, _N_STEPS
    while step - low > 1:
        middle = (low + step) // 2
        enough = compressed(middle)[2] >= -_TOLERANCE_LU
        low, step = (low, middle) if enough else (middle, step)
    out, gain_db, excess = compressed(step)
    gain_db -= max(excess, -max(0.0, -peak))  # what is missing is added up to full scale
    return out * np.float32(db_to_amplitude(gain_db))


def searched(
    config: Config,
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    rack: Rack,
    starts: np.ndarray,
    renders: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The setting (knobs,) at which dry sounds come nearest to their targets, by CMA-ES.

    It begins at the best of `starts` (k, knobs). Near is what controllers are trained by,
    `Config.distance`, averaged over the pairs.
    """

    def cost(settings: np.ndarray) -> np.ndarray:
        costs = []
        for dry, target in pairs:
            wet = torch.from_numpy(rack.render([dry] * len(settings), settings))
            goal = torch.from_numpy(target).expand_as(wet)
            costs.append(config.distance(wet, goal).numpy())
        return np.mean(costs, axis=0)

    start = starts[cost(starts).argmin()]
    return minimise(cost, start, evaluations=renders, rng=rng, spread=_SPREAD).point


def best_constant(config: Config, rack: Rack, start: np.ndarray, renders: int) -> np.ndarray:
    """One setting (knobs,) for all, searched on training clips from `start` or the defaults."""
    made = data.examples(config, "train", config.plan.seed, n=_N_CONSTANT)
    rng = generator(config.plan.seed, "best constant", config.sound.task)
    pairs = [made.draw(config, k, rng)[:2] for k in range(_N_CONSTANT)]
    starts = np.stack([start, config.task.start[: len(start)]])
    return searched(config, pairs, rack, starts, renders, rng)


def known_or(answer: np.ndarray, setting: np.ndarray) -> np.ndarray:
    """The answer (knobs,) that a draw knows, and another setting where it knows nothing."""
    return np.where(np.isfinite(answer), answer, setting)


def headroom(config: Config, rack: Rack, clips: data.Examples, renders: int) -> dict[str, float]:
    """What listening can gain: the best constant's distance, and one setting for each clip's.

    ``headroom`` is the share of the constant's distance that the oracle does without, by MR-STFT
    too. Below .2 a task teaches nobody to listen.
    """
    constant = best_constant(config, rack, config.task.start, 6 * renders)
    rng = generator(config.plan.seed, "headroom")
    found = {"nothing": [], "constant": [], "oracle": []}
    for k in range(len(clips.sound)):
        dry, target, answer = clips.draw(config, k, rng)
        starts = np.stack([known_or(answer, constant), constant])
        own = searched(config, [(dry, target)], rack, starts, renders, rng)
        wet = rack.render([dry, dry], np.stack([constant, own]))
        sounds = np.stack([dry, *wet])
        goal = torch.from_numpy(target).expand(len(sounds), -1, -1)
        distances = config.distance(torch.from_numpy(sounds), goal).tolist()
        for name, distance, sound in zip(found, distances, sounds, strict=True):
            found[name].append((distance, mr_stft(sound, target, config.sound.sample_rate)))
    means = {name: np.mean(pairs, axis=0) for name, pairs in found.items()}
    share, by_mr_stft = (1 - means["oracle"] / means["constant"]).tolist()
    distances = {name: float(mean[0]) for name, mean in means.items()}
    return distances | {"headroom": share, "headroom by MR-STFT": by_mr_stft}

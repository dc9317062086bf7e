"""From anybody's recording to a chain."""

from collections.abc import Sequence

import numpy as np
import torch

from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.systems.pedal_order.config import THREE
from labkit.systems.pedal_order.decode import Prediction, decode
from labkit.systems.pedal_order.front_ends import picture
from labkit.systems.pedal_order.model import PedalOrderModel

# A clip this far below the loudest window of its recording says little of the chain.
QUIET_DB = 30.0


def windows(audio: np.ndarray, samples: int, *, most: int) -> np.ndarray:
    """Up to `most` windows of a mono recording, evenly spread, without those that are nearly silent.

    Args:
        audio: (1, n) float32; a shorter one is padded at the end.
        samples: length of a window.
        most: >= 1.

    Returns:
        (windows, samples) float32, at least one window.
    """
    if audio.shape[1] < samples:
        audio = np.pad(audio, ((0, 0), (0, samples - audio.shape[1])))
    count = min(most, 1 + 2 * (audio.shape[1] - samples) // samples)
    starts = np.linspace(0, audio.shape[1] - samples, max(1, count)).astype(int)
    cut = np.stack([audio[0, start : start + samples] for start in starts])
    level = np.square(cut).mean(1)
    return cut[level >= level.max() * 10 ** (-QUIET_DB / 10)]


def predict(
    model: PedalOrderModel,
    audio: np.ndarray,
    sample_rate: int,
    *,
    shelf: Sequence[str] = THREE,
    most_windows: int = 8,
) -> Prediction:
    """The chain of pedals behind a recording.

    Windows of the recording vote: see `decode`.

    Args:
        model: from `load` or `train`.
        audio: (channels, samples) float32, any length, level and channel count.
        sample_rate: Hz.
        shelf: pedals that may occur. The shipped model is trained on three (chorus, distortion, reverb) and on six.
        most_windows: windows of `config.seconds` that are heard.

    Returns:
        The prediction.

    Raises:
        AudioError: if the audio is empty, silent or not finite.
        ValueError: for an unknown pedal on the shelf.
    """
    check_audio(audio, sample_rate)
    mono = to_mono(audio)
    if float(np.abs(mono).max()) < 1e-5:
        raise AudioError("audio is silent (peak below -100 dBFS): there is no chain to hear")
    mono = resample(mono, sample_rate, model.config.sample_rate)
    cut = torch.from_numpy(windows(mono, model.config.samples, most=most_windows))
    return decode(model, picture(cut, model.config), shelf)


def recreate(
    prediction: Prediction, dry: np.ndarray, sample_rate: int, *, input_rms_dbfs: float = -20.0
) -> np.ndarray:
    """The predicted chain on a dry recording.

    Args:
        prediction: from `predict`.
        dry: (channels, samples) float32, not silent.
        sample_rate: Hz.
        input_rms_dbfs: level at which the dry sound enters the chain, as in training.

    Returns:
        (channels, samples) float32, at the dry sound's length, peak at most 1.

    Raises:
        AudioError: as `predict`.
    """
    check_audio(dry, sample_rate)
    level = float(np.sqrt(np.mean(np.square(dry, dtype=np.float64))))
    if level < 1e-6:
        raise AudioError("the dry audio is silent: the chain has nothing to work on")
    wet = prediction.chain.render(
        dry * np.float32(10 ** (input_rms_dbfs / 20) / level), sample_rate
    )
    return wet / max(1.0, float(np.abs(wet).max()))

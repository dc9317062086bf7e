"""Using a controller: one setting for a clip, a curve of settings over a recording, a file of any length."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from labkit.signal.files import AudioFileError, check_audio, resample
from labkit.signal.optional import need
from labkit.signal.paths import replace_text
from labkit.systems.blackbox.controller import Controller
from labkit.systems.blackbox.rack import Rack

# Plug-ins start from rest at every block: this much of the sound before it lets levels and filters settle.
_PREROLL_S, _FADE_S, _TAIL_S = 0.5, 0.05, 0.02
# Hops over which a curve is smoothed.
_SMOOTH_HOPS = 1.0
# Below, a window holds nothing that could be judged.
_SILENT_RMS = 10 ** (-70 / 20)
_AT_ONCE = 4


@dataclass(frozen=True)
class Curve:
    """Settings over time.

    Attributes:
        names: ``"plug-in: knob"``.
        seconds: (n,) the middle of each hop.
        raw: (n, knobs) in 0..1, as the controller heard each window.
        smooth: (n, knobs), what is played.
        hop_s: seconds from one setting to the next.
    """

    names: tuple[str, ...]
    seconds: np.ndarray
    raw: np.ndarray
    smooth: np.ndarray
    hop_s: float

    def setting(self) -> dict[str, float]:
        """One setting for the whole recording: the curve's mean."""
        return dict(zip(self.names, self.smooth.mean(0).tolist(), strict=True))


class _File:
    """Pieces of an audio file by place, whatever its length."""

    def __init__(self, path: str | Path) -> None:
        soundfile = need("soundfile")
        try:
            self._file = soundfile.SoundFile(str(path))
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioFileError(
                f"{path}: audio expected (wav, flac, mp3, ogg, aiff), found {error}"
            ) from error
        self._path, self._broken = path, soundfile.SoundFileError
        self.sample_rate, self.samples, self.channels = (
            self._file.samplerate,
            self._file.frames,
            self._file.channels,
        )
        if not self.samples:
            raise AudioFileError(f"{path}: audio expected, the file has a header but no samples")

    def read(self, start: int, stop: int) -> np.ndarray:
        """(channels, stop - start); silence beyond the ends."""
        first, last = max(start, 0), min(stop, self.samples)
        try:
            self._file.seek(first)
            audio = self._file.read(max(0, last - first), dtype="float32", always_2d=True).T
        except self._broken as error:
            raise AudioFileError(
                f"{self._path}: broken or cut off after {first} samples ({error})"
            ) from error
        if not np.isfinite(audio).all():
            raise AudioFileError(
                f"{self._path}: finite audio expected, found NaN or infinity after {first} samples"
            )
        return np.pad(audio, ((0, 0), (first - start, stop - first - audio.shape[1])))

    def close(self) -> None:
        self._file.close()


class _Array:
    """The same for sound in memory."""

    def __init__(self, audio: np.ndarray, sample_rate: int) -> None:
        self._audio = check_audio(audio, sample_rate)
        self.sample_rate, (self.channels, self.samples) = sample_rate, self._audio.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        first, last = max(start, 0), min(stop, self.samples)
        return np.pad(
            self._audio[:, first:last], ((0, 0), (first - start, stop - max(last, first)))
        )


@torch.no_grad()
def _curve(model: Controller, sound: _File | _Array, hop_s: float) -> Curve:
    config, rate = model.config, sound.sample_rate
    hop, window = max(1, round(hop_s * rate)), round(config.seconds * rate)
    n, heard = -(-sound.samples // hop), []
    found = np.empty(
        (n, len(config.chain.knobs))
    )  # at once: small arrays kept between big ones make the heap creep
    for k in range(n):
        start = int(np.clip(k * hop + hop // 2 - window // 2, 0, max(0, sound.samples - window)))
        audio = sound.read(start, min(start + window, sound.samples)).mean(0, keepdims=True)
        audio = np.pad(audio, ((0, 0), (0, window - audio.shape[1])), mode="wrap")
        heard.append(resample(np.ascontiguousarray(audio), rate, config.sample_rate))
        if len(heard) == 16 or k == n - 1:
            sounds = np.stack(heard)
            knobs = model(torch.from_numpy(sounds)).double().numpy()
            knobs[np.sqrt((sounds**2).mean((1, 2))) < _SILENT_RMS] = np.nan
            found[k + 1 - len(heard) : k + 1] = knobs
            heard = []
    raw = _fill(found, np.array([knob.start for knob in config.chain.knobs]))
    smooth = gaussian_filter1d(raw, _SMOOTH_HOPS, axis=0, mode="nearest")
    return Curve(
        config.chain.names,
        (np.arange(n) + 0.5) * hop / rate,
        raw,
        np.clip(smooth, 0, 1),
        hop / rate,
    )


def _fill(knobs: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Silent windows take the settings between their neighbours'; a silent recording stays at the start."""
    known = np.isfinite(knobs[:, 0])
    if not known.any():
        return np.tile(start, (len(knobs), 1))
    places = np.arange(len(knobs))
    return np.stack([np.interp(places, places[known], column[known]) for column in knobs.T], axis=1)


def curve(model: Controller, audio: np.ndarray, sample_rate: int, *, hop_s: float = 0.5) -> Curve:
    """What the controller would turn over the course of a recording.

    Args:
        model: a controller.
        audio: (channels, samples) float, finite, full scale 1; any length.
        sample_rate: Hz, any.
        hop_s: seconds from one setting to the next, > 0.

    Returns:
        Raw and smoothed settings, to be drawn or played.

    Raises:
        ValueError: for unusable audio or a hop that is none.
    """
    return _curve(model, _Array(audio, sample_rate), _positive(hop_s))


def predict(model: Controller, audio: np.ndarray, sample_rate: int) -> dict[str, float]:
    """One setting for a whole recording: ``"plug-in: knob"`` -> 0..1. Args and errors as `curve`."""
    return curve(model, audio, sample_rate).setting()


def _positive(hop_s: float) -> float:
    if not hop_s > 0:
        raise ValueError(f"hop_s must be above 0, got {hop_s}")
    return float(hop_s)


def _blocks(sound: _File | _Array, rack: Rack, found: Curve) -> Iterator[np.ndarray]:
    """The recording through the chain, hop by hop, neighbours cross-faded: (channels, samples of a hop) each."""
    rate, hop = sound.sample_rate, round(found.hop_s * sound.sample_rate)
    early, fade, tail = (round(s * rate) for s in (_PREROLL_S, _FADE_S, _TAIL_S))
    fade = min(fade, hop)
    rising = (
        np.sin(0.5 * np.pi * (np.arange(fade) + 0.5) / fade).astype(np.float32) ** 2
        if fade
        else np.zeros(0)
    )
    ending = None
    for first in range(0, len(found.smooth), _AT_ONCE):
        knobs = found.smooth[first : first + _AT_ONCE]
        starts = [(first + k) * hop for k in range(len(knobs))]
        pieces = [sound.read(start - early, start + hop + fade + tail) for start in starts]
        wet = rack.render([resample(piece, rate, rack.sample_rate) for piece in pieces], knobs)
        for out in wet:
            back = resample(out, rack.sample_rate, rate)
            back = np.pad(back, ((0, 0), (0, max(0, early + hop + fade - back.shape[1]))))[
                :, early:
            ]
            block = back[:, :hop].copy()
            if ending is not None and fade:
                block[:, :fade] = rising * block[:, :fade] + (1 - rising) * ending
            ending = back[:, hop : hop + fade]
            yield block


def enhance(
    model: Controller,
    audio: np.ndarray,
    sample_rate: int,
    *,
    hop_s: float = 0.5,
    rack: Rack | None = None,
) -> tuple[np.ndarray, Curve]:
    """A recording as the controller would have it, its knobs moving.

    Args:
        model: a controller.
        audio: (channels, samples) float, finite, full scale 1. All channels get the same knobs.
        sample_rate: Hz.
        hop_s: seconds from one setting to the next, > 0.
        rack: the model's chain, open; opened and closed here when None.

    Returns:
        (channels, samples) float32, which may exceed full scale, and the curve.

    Raises:
        ValueError: for unusable audio or a hop that is none.
        PluginError: where a plug-in of the chain is not installed.
    """
    sound = _Array(audio, sample_rate)
    found = _curve(model, sound, _positive(hop_s))
    with _opened(model, rack) as chain:
        return np.concatenate(list(_blocks(sound, chain, found)), axis=1)[:, : sound.samples], found


class _opened:  # noqa: N801 - a context manager, used as a function
    """The rack given, left open; or one of our own, closed afterwards."""

    def __init__(self, model: Controller, rack: Rack | None) -> None:
        self._own = rack is None
        self._rack = rack or Rack(model.config.chain.units, model.config.sample_rate, workers=2)

    def __enter__(self) -> Rack:
        return self._rack

    def __exit__(self, *_: object) -> None:
        if self._own:
            self._rack.close()


def enhance_file(
    model: Controller,
    source: str | Path,
    target: str | Path,
    *,
    hop_s: float = 0.5,
    rack: Rack | None = None,
) -> dict[str, Any]:
    """A file of any length through the chain, a piece at a time: memory does not grow with it, but for the curve.

    Beside `target`, which is a 32-bit float WAV at the source's rate, `target` with ``.json`` for ``.wav`` holds the
    settings and the curve.

    Args:
        model: a controller.
        source: what libsndfile can read and seek in: wav, flac, aiff, ogg, mp3.
        target: ends in ``.wav``; replaced when it exists.
        hop_s: seconds from one setting to the next, > 0.
        rack: the model's chain, open; opened and closed here when None.

    Returns:
        What the JSON holds: task, units, setting (the mean), curve, peak, seconds.

    Raises:
        AudioFileError: for a file that cannot be read.
        ValueError: for a `target` with another suffix, or that is the source, or a hop that is none.
        PluginError: where a plug-in of the chain is not installed.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() != ".wav" or target.resolve() == source.resolve():
        raise ValueError(
            f"target must be another file than the source and end in .wav, got {target}"
        )
    sound = _File(source)
    try:
        found = _curve(model, sound, _positive(hop_s))
        with _opened(model, rack) as chain:
            peak = _write(target, sound, _blocks(sound, chain, found))
    finally:
        sound.close()
    facts = _facts(model, found, sound, peak)
    replace_text(target.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    return facts


def _write(target: Path, sound: _File, blocks: Iterator[np.ndarray]) -> float:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.tmp.wav")
    peak, left = 0.0, sound.samples
    try:
        with need("soundfile").SoundFile(
            str(temporary), "w", sound.sample_rate, sound.channels, "FLOAT"
        ) as file:
            for block in blocks:
                part = block[:, :left]
                peak, left = max(peak, float(np.abs(part).max(initial=0.0))), left - part.shape[1]
                file.write(part.T)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
    return peak


def _facts(model: Controller, found: Curve, sound: _File, peak: float) -> dict[str, Any]:
    curves = {name: np.round(found.smooth[:, k], 4).tolist() for k, name in enumerate(found.names)}
    units = [
        {"plugin": unit.plugin, "fixed": dict(unit.fixed)} for unit in model.config.chain.units
    ]
    return {
        "task": model.config.task,
        "units": units,
        "setting": found.setting(),
        "hop_seconds": found.hop_s,
        "curve": curves,
        "peak": peak,
        "seconds": sound.samples / sound.sample_rate,
    }

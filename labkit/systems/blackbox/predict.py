"""Using a controller: a curve of settings over a recording, and a file of any length through it."""

import json
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d

from labkit.effects.hosts.listing import stand_in_for
from labkit.effects.hosts.plugin import Rack, Unit
from labkit.measure.loudness import LoudnessMeter, TruePeakMeter
from labkit.signal.augment import fit
from labkit.signal.files import Recording, check_audio, resample, to_mono
from labkit.signal.optional import need
from labkit.signal.paths import read_text, replace_text, replacing
from labkit.signal.units import db_to_amplitude
from labkit.systems.blackbox.config import Task
from labkit.systems.blackbox.model import Controller

# Plug-ins start from rest at every block: this much of the sound before it lets them settle.
_PREROLL_S, _FADE_S, _TAIL_S = 0.5, 0.05, 0.02
_SMOOTH_HOPS = 1.0  # deviation of the Gaussian that smooths a curve
_SILENT_RMS = db_to_amplitude(-70)
_N_RENDERED_TOGETHER, _N_PREDICTED_TOGETHER, _N_SCALED_TOGETHER = 4, 16, 1 << 16
_CEILING_DBTP = -1.1  # -1 dBTP, and a tenth because meters differ
_SCRIPT = '''"""Plays a recording at the settings of this run: python THIS_FILE IN.wav OUT.wav."""

import sys
from pathlib import Path

from labkit.systems.blackbox import replay

facts = Path(__file__).name.replace(".board.py", ".json")
replay(Path(__file__).with_name(facts), sys.argv[1], sys.argv[2])
'''


@dataclass(frozen=True)
class Curve:
    """Settings over time."""

    names: tuple[str, ...]  # "plug-in: parameter"
    seconds: np.ndarray  # (n,) the middle of each hop
    smooth: np.ndarray  # (n, knobs) in 0..1
    hop_s: float

    def columns(self) -> dict[str, list[float]]:
        """Every knob's curve by its name."""
        return dict(zip(self.names, self.smooth.T.round(6).tolist(), strict=True))


class _Array:
    """A recording in memory, read as a `Recording` is."""

    def __init__(self, audio: np.ndarray, sample_rate: int) -> None:
        self.audio, self.sample_rate = check_audio(audio, sample_rate), int(sample_rate)
        self.channels, self.samples = self.audio.shape

    def read(self, start: int, stop: int) -> np.ndarray:
        return fit(self.audio, stop - start, offset=start)


@torch.no_grad()
def _curve(model: Controller, sound: Recording | _Array, hop_s: float) -> Curve:
    if not hop_s > 0:
        raise ValueError(f"hop_s must be above 0, got {hop_s}")
    rate, task = sound.sample_rate, model.config.task
    hop = max(1, round(hop_s * rate))
    n = -(-sound.samples // hop)
    # Allocated at once: small arrays kept between large ones would fragment the heap.
    found = np.empty((n, len(task.start)))
    for first in range(0, n, _N_PREDICTED_TOGETHER):
        last = min(first + _N_PREDICTED_TOGETHER, n)
        windows = np.stack([_window(model, sound, k * hop + hop // 2) for k in range(first, last)])
        knobs = model(torch.from_numpy(windows)).double().numpy()
        knobs[np.sqrt((windows**2).mean((1, 2))) < _SILENT_RMS] = np.nan
        found[first:last] = knobs
    filled = _filled(found, task.start)
    smooth = np.clip(gaussian_filter1d(filled, _SMOOTH_HOPS, axis=0, mode="nearest"), 0, 1)
    return Curve(task.names, (np.arange(n) + 0.5) * hop / rate, smooth, hop / rate)


def _window(model: Controller, sound: Recording | _Array, middle: int) -> np.ndarray:
    """(1, samples) at the model's rate around a place, inside the recording; short ones repeat."""
    config, rate = model.config.sound, sound.sample_rate
    length = round(config.seconds * rate)
    start = int(np.clip(middle - length // 2, 0, max(0, sound.samples - length)))
    audio = to_mono(sound.read(start, min(start + length, sound.samples)))
    audio = np.pad(audio, ((0, 0), (0, length - audio.shape[1])), mode="wrap")
    return resample(np.ascontiguousarray(audio), rate, config.sample_rate)


def _filled(knobs: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Silent windows (NaN) get settings between their neighbours'; silent recordings the start."""
    known = np.isfinite(knobs[:, 0])
    if not known.any():
        return np.tile(start, (len(knobs), 1))
    places = np.arange(len(knobs))
    return np.stack([np.interp(places, places[known], column[known]) for column in knobs.T], axis=1)


def curve(model: Controller, audio: np.ndarray, sample_rate: int, *, hop_s: float = 0.5) -> Curve:
    """The settings over the course of a recording (channels, samples) of any length and rate.

    Raises ValueError for unusable audio, or a `hop_s` that is not above 0.
    """
    return _curve(model, _Array(audio, sample_rate), hop_s)


def _blocks(rack: Rack, sound: Recording | _Array, found: Curve) -> Iterator[np.ndarray]:
    """The recording through the plug-ins, hop by hop, cross-faded: (channels, samples of a hop)."""
    rate, ending = sound.sample_rate, None
    hop, early = round(found.hop_s * rate), round(_PREROLL_S * rate)
    fade, tail = min(round(_FADE_S * rate), hop), round(_TAIL_S * rate)
    phase = (np.arange(fade) + 0.5) / max(fade, 1)
    rising = np.sin(0.5 * np.pi * phase).astype(np.float32) ** 2
    for first in range(0, len(found.smooth), _N_RENDERED_TOGETHER):
        knobs = found.smooth[first : first + _N_RENDERED_TOGETHER]
        starts = [(first + k) * hop for k in range(len(knobs))]
        pieces = [sound.read(start - early, start + hop + fade + tail) for start in starts]
        pieces = [resample(piece, rate, rack.sample_rate) for piece in pieces]
        for start, wet in zip(starts, rack.render(pieces, knobs), strict=True):
            wet = resample(wet, rack.sample_rate, rate)
            missing = max(0, early + hop + fade - wet.shape[1])
            wet = np.pad(wet, ((0, 0), (0, missing)))[:, early:]
            block = wet[:, :hop].copy()
            if ending is not None:
                block[:, :fade] = rising * block[:, :fade] + (1 - rising) * ending
            ending = wet[:, hop : hop + fade]
            yield block[:, : sound.samples - start]


def playable(task: Task) -> tuple[tuple[Unit, ...], str]:
    """The task's plug-ins, or what stands in for those not installed; then a sentence says so."""
    instead = {unit.plugin: stand_in_for(unit.plugin) for unit in task.units}
    units = tuple(replace(unit, plugin=instead[unit.plugin] or unit.plugin) for unit in task.units)
    absent = ", ".join(plugin for plugin, name in instead.items() if name)
    said = (
        f"{absent} cannot be hosted here (Debian: apt-get install zam-plugins): "
        "effects of pedalboard stand in, near them but not the same"
    )
    return units, said if absent else ""


def enhance(
    model: Controller, audio: np.ndarray, sample_rate: int, *, hop_s: float = 0.5
) -> tuple[np.ndarray, Curve]:
    """A recording through the plug-ins, whose parameters follow the curve; channels share them.

    Returns (channels, samples) float32, which may exceed full scale, and the curve. Raises
    ValueError as `curve`. Where a plug-in is not installed, a warning says what stands in.
    """
    config, (units, said) = model.config, playable(model.config.task)
    if said:
        warnings.warn(said, stacklevel=2)
    sound = _Array(audio, sample_rate)
    found = _curve(model, sound, hop_s)
    with Rack(units, config.sound.sample_rate, workers=config.net.n_copies) as rack:
        return np.concatenate([*_blocks(rack, sound, found)], axis=1), found


def enhance_file(
    model: Controller,
    source: str | Path,
    target: str | Path,
    *,
    hop_s: float = 0.5,
    lufs: float | None = None,
) -> dict[str, Any]:
    """A file of any length through the plug-ins, in constant memory but for the curve.

    Writes `target`, a 32-bit float WAV at the source's rate, turned as a whole to a loudness if one
    is given, and down where its true peak would exceed -1 dBTP; beside it, as JSON, the facts that
    are returned; and a script that plays any recording so without the network, see `replay`. See
    `enhance`. Raises AudioFileError for a file that cannot be read to its end; ValueError for
    another suffix than ``.wav``, the source as `target`, or `lufs` outside -70 to 0.
    """
    source, target = Path(source), Path(target)
    if lufs is not None and not -70 <= lufs <= 0:
        raise ValueError(f"lufs must lie in -70 to 0, got {lufs}")
    if target.suffix.lower() != ".wav" or target.resolve() == source.resolve():
        raise ValueError(
            f"target must be another file than the source and end in .wav, got {target}"
        )
    config, (units, said) = model.config, playable(model.config.task)
    with Recording(source).survey() as sound:
        found = _curve(model, sound, hop_s)
        with Rack(units, config.sound.sample_rate, workers=config.net.n_copies) as rack:
            gain_db, true_peak_dbtp, loudness = _play(rack, sound, found, target, lufs=lufs)
            mean = found.smooth.mean(0)
            shown = rack.shown(mean)
        seconds = sound.samples / sound.sample_rate
    facts = {
        "task": config.sound.task,
        "units": [asdict(unit) for unit in units],
        "remark": said,
        "sample_rate": config.sound.sample_rate,
        "setting": dict(zip(found.names, mean.tolist(), strict=True)),
        "setting_in_units": dict(zip(found.names, shown, strict=True)),
        "hop_seconds": found.hop_s,
        "curve": found.columns(),
        "gain_db": gain_db,
        "true_peak_dbtp": true_peak_dbtp,
        "loudness_lufs": loudness,
        "seconds": seconds,
    }
    replace_text(target.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
    replace_text(target.with_suffix(".board.py"), _SCRIPT)
    return facts


def replay(facts: str | Path, source: str | Path, target: str | Path) -> None:
    """Play a recording as `enhance_file` did when it wrote a file of facts, without the network.

    Beyond the end of the curve its last setting stays. Raises ValueError where `target` exists.
    """
    known, target = json.loads(read_text(facts)), Path(target)
    if target.exists():
        raise ValueError(f"target must be a new file, {target} exists")
    units = [Unit(**unit) for unit in known["units"]]
    smooth = np.array([*known["curve"].values()]).T
    with Recording(source).survey() as sound, Rack(units, known["sample_rate"]) as rack:
        n = -(-sound.samples // round(known["hop_seconds"] * sound.sample_rate))
        smooth = smooth[np.minimum(np.arange(n), len(smooth) - 1)]
        found = Curve(tuple(known["curve"]), np.arange(n), smooth, known["hop_seconds"])
        _play(rack, sound, found, target, known["gain_db"])


def _play(
    rack: Rack,
    sound: Recording | _Array,
    found: Curve,
    target: Path,
    gain_db: float | None = None,
    *,
    lufs: float | None = None,
) -> tuple[float, float, float]:
    """Write the recording through the plug-ins; returns the gain, true peak and loudness behind it.

    Where it is None, the gain is what brings the loudness to `lufs`, if that is given, and the true
    peak to the ceiling, if that is lower.
    """
    soundfile, rate, channels = need("soundfile"), sound.sample_rate, sound.channels
    meters = TruePeakMeter(rate, channels), LoudnessMeter(rate, channels)
    sizes = {"samplerate": rate, "channels": channels, "subtype": "FLOAT"}
    with replacing(target) as temporary:
        with soundfile.SoundFile(temporary, "w", **sizes) as file:
            for block in _blocks(rack, sound, found):
                for meter in meters:
                    meter.feed(block)
                file.write(block.T)
        meters[0].feed(block[:, :0], last=True)
        peak_dbtp, loudness = meters[0].dbtp(), meters[1].lufs()
        if gain_db is None:
            wanted_db = 0.0 if lufs is None or loudness == -np.inf else lufs - loudness
            gain_db = min(wanted_db, _CEILING_DBTP - peak_dbtp)
        if gain_db:
            _scale(temporary, gain_db)
    # JSON has no number for the levels of silence.
    return gain_db, max(peak_dbtp + gain_db, -200.0), max(loudness + gain_db, -70.0)


def _scale(path: Path, gain_db: float) -> None:
    """Scale a file in its place."""
    with need("soundfile").SoundFile(path, "r+") as file:
        for start in range(0, file.frames, _N_SCALED_TOGETHER):
            file.seek(start)
            block = file.read(_N_SCALED_TOGETHER, dtype="float32")
            file.seek(start)
            file.write(np.float32(db_to_amplitude(gain_db)) * block)

"""A match as files that a DAW opens: preset, MIDI note, sound; and the numbers for programs."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labkit.effects.synths.registry import Synth, synthesizer_of
from labkit.effects.synths.spec import SAMPLE_RATE, VELOCITY, SynthSpec, Values
from labkit.signal.files import write_audio
from labkit.signal.optional import need
from labkit.signal.paths import replace_bytes, replace_text
from labkit.systems.synth_matching.predict import Match

_BPM = 120
_TICKS = 480


@dataclass(frozen=True)
class Written:
    """The files of a match.

    Attributes:
        preset: `.vital`, which Vital opens, `.vstpreset`, which a host opens for Surge XT, or our own voice's `.voice`.
        midi: the note that it is to play.
        parameters: JSON, every value by name, volume and distance.
        vector: `.npy`, the patch as its set codes it.
        audio: wav, the patch played.
    """

    preset: Path
    midi: Path
    parameters: Path
    vector: Path
    audio: Path


def write_match(
    match: Match, spec: SynthSpec, folder: str | Path, *, name: str, synth: Synth
) -> Written:
    """Write all five files; a reader sees old ones or new ones.

    Args:
        match: from `predict`.
        spec: of its patch.
        folder: made where there is none.
        name: of the preset and the files.
        synth: open.

    Returns:
        Where they are.

    Raises:
        PluginError: if the synthesizer crashed or hung.
    """
    stem = Path(folder) / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    endings = (synthesizer_of(spec.name).suffix, ".mid", ".json", ".npy", ".wav")
    files = Written(*(stem.with_name(name + end) for end in endings))
    preset = synth.preset(match.values, name=name, volume_db=match.volume_db)
    replace_bytes(files.preset, preset.encode() if isinstance(preset, str) else preset)
    write_note(files.midi, match.values)
    said = {
        "set": spec.name,
        "values": dict(match.values),
        "volume_db": match.volume_db,
        "mss_db": match.distance,
    }
    replace_text(files.parameters, json.dumps(said, indent=1) + "\n")
    temporary = files.vector.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, spec.encode(match.values))
    os.replace(temporary, files.vector)
    write_audio(files.audio, match.audio / max(1.0, float(np.abs(match.audio).max())), SAMPLE_RATE)
    return files


def write_note(path: Path, values: Values) -> None:
    """A standard MIDI file with one note, at 120 beats a minute."""
    mido = need("mido")
    key, velocity = round(float(values["note_pitch"])), round(127 * VELOCITY)
    length = max(1, round(float(values["note_seconds"]) * _BPM / 60 * _TICKS))
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(_BPM), time=0))
    track.append(mido.Message("note_on", note=key, velocity=velocity, time=0))
    track.append(mido.Message("note_off", note=key, velocity=0, time=length))
    track.append(mido.MetaMessage("end_of_track", time=0))
    temporary = path.with_suffix(".mid.tmp")
    mido.MidiFile(ticks_per_beat=_TICKS, tracks=[track]).save(temporary)
    os.replace(temporary, path)

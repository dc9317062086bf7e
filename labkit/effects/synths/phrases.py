"""Phrases of the synthesizer Vital as a source of dry sound, beside guitars and recorded instruments."""

import numpy as np

from labkit.effects.synths.vital import SAMPLE_RATE, SIMPLE, Vital
from labkit.signal.files import resample
from labkit.signal.sampled import SPLITS, Note, draw_phrase
from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, check_split

# What would be taken for a pedal: off. Unison beats as a chorus does.
_DRY = {"distortion_drive": 0.0, "chorus_dry_wet": 0.0, "reverb_dry_wet": 0.0}
_VOICES = ("osc_1_unison_voices", "osc_2_unison_voices")
_LOW, _HIGH, _TAIL_SECONDS, _SILENT = 40, 76, 1.0, 1e-3


class VitalPhrases:
    """Melodies on random patches without effects; a group is a patch. A context manager: Vital is another process.

    Args:
        seed: of the patches.
        seconds: length of a clip, > 0.
        sample_rate: Hz.
        patches: how many in train, validation and test.

    Raises:
        ValueError: bad `seconds` or `patches`.
        PluginError: at the first clip, if Vital is not installed.
    """

    kind = "vital"

    def __init__(
        self,
        *,
        seed: int = 0,
        seconds: float = 2.5,
        sample_rate: int = SAMPLE_RATE,
        patches: tuple[int, int, int] = (4_000, 200, 400),
    ) -> None:
        if not seconds > 0 or len(patches) != 3 or min(patches) < 1:
            raise ValueError(
                f"seconds must be above 0 and patches three counts, got {seconds} and {patches}"
            )
        self.seed, self.seconds, self.sample_rate = seed, seconds, sample_rate
        edges = np.cumsum((0, *patches)).tolist()
        self._patches = {split: range(*edges[i : i + 2]) for i, split in enumerate(SPLITS)}
        self._vital: Vital | None = None

    def groups(self, split: str) -> list[str]:
        """The source ids of a split, one per patch."""
        return [self._id(index) for index in self._patches[check_split(split)]]

    def clip(self, rng: np.random.Generator, split: str) -> Clip:
        """A phrase on a random patch of the split, drawn again where nothing is heard."""
        patches = self._patches[check_split(split)]
        while True:
            index = patches[int(rng.integers(len(patches)))]
            audio = self._play(rng, index)
            if float(np.abs(audio).max()) > _SILENT:
                return Clip(audio, self.sample_rate, self._id(index), self.kind)

    def _play(self, rng: np.random.Generator, index: int) -> np.ndarray:
        patch = (
            SIMPLE.draw(generator(self.seed, "dry patch", index))
            | _DRY
            | dict.fromkeys(_VOICES, "1")
        )
        notes = draw_phrase(rng, family="wind", low=_LOW, high=_HIGH, seconds=self.seconds).notes
        out = np.zeros(round((self.seconds + 4.0) * SAMPLE_RATE), dtype=np.float32)
        played = {
            note.key: self._note(patch, note) for note in notes
        }  # once for every key: the rest is level
        for note in notes:
            start = round(note.start_seconds * SAMPLE_RATE)
            tone = played[note.key][: len(out) - start]
            out[start : start + len(tone)] += np.float32(note.velocity / 127) * tone
        audio = resample(out[None], SAMPLE_RATE, self.sample_rate)[
            :, : round(self.seconds * self.sample_rate)
        ]
        return audio / max(1.0, float(np.abs(audio).max()))

    def _note(self, patch: dict[str, float | str], note: Note) -> np.ndarray:
        if self._vital is None:
            self._vital = Vital(SIMPLE)
        held = SIMPLE["note_seconds"]
        seconds = float(np.clip(note.seconds, held.low, held.high))
        values = SIMPLE.settle(patch | {"note_pitch": float(note.key), "note_seconds": seconds})
        return self._vital.render(values, seconds=seconds + _TAIL_SECONDS).mean(0)

    def _id(self, index: int) -> str:
        return f"vital/{self.seed}-{index:05d}"

    def __enter__(self) -> "VitalPhrases":
        return self

    def __exit__(self, *_: object) -> None:
        if self._vital is not None:
            self._vital.close()
            self._vital = None

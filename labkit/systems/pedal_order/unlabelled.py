"""Recordings whose chain nobody wrote down: what the network is sure of there becomes what it learns from.

A recording is heard as a whole, its windows voting. Each window alone, tilted and with stripes hidden, must then say
the same. Half of every batch stays rendered chains that are known, so that the network cannot agree with itself on
nothing.

Source: Lee 2013 (pseudo-labels); Sohn et al. 2020 (FixMatch): labels from a plain view, learnt on a varied one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from labkit.effects.chain import Chain
from labkit.learn.pool import number_of
from labkit.signal.files import AudioError, check_audio, resample, to_mono
from labkit.signal.seeds import generator
from labkit.systems.pedal_order.config import SIX
from labkit.systems.pedal_order.data import Examples, targets, vary
from labkit.systems.pedal_order.decode import decode
from labkit.systems.pedal_order.front_ends import picture
from labkit.systems.pedal_order.model import PedalOrderModel
from labkit.systems.pedal_order.predict import windows

# Below this probability of the order a guess is not learnt from.
SURE = 0.5


@dataclass(frozen=True)
class Heard:
    """A recording and what is behind it.

    Attributes:
        pictures: (windows, rows, frames) float32.
        chain: known, or guessed.
        shelf: pedals that it was asked of.
        probability: of a guess; 1 for what is known.
    """

    pictures: Tensor
    chain: Chain
    shelf: tuple[str, ...]
    probability: float = 1.0


def heard(
    model: PedalOrderModel,
    recordings: Iterable[tuple[np.ndarray, int]],
    *,
    shelf: Sequence[str] = SIX,
    most_windows: int = 8,
) -> list[Heard]:
    """What the network says of each recording, its windows voting.

    Args:
        model: in evaluation mode.
        recordings: (audio (channels, samples) float32, sample rate in Hz) of each; silent ones are left out.
        shelf: pedals that may occur.
        most_windows: that a recording is heard in.

    Returns:
        One entry for each recording that is not silent.

    Raises:
        AudioError: if a recording is empty or not finite.
        ValueError: for an unknown pedal on the shelf.
    """
    found = []
    for audio, sample_rate in recordings:
        mono = resample(
            to_mono(check_audio(audio, sample_rate)), sample_rate, model.config.sample_rate
        )
        if float(np.abs(mono).max()) < 1e-5:
            continue
        cut = torch.from_numpy(windows(mono, model.config.samples, most=most_windows))
        pictures = picture(cut, model.config)
        said = decode(model, pictures, shelf)
        found.append(Heard(pictures, said.chain, tuple(shelf), said.probability))
    return found


class Beside(Dataset):
    """Rendered examples and windows of recordings in turns; number ``i`` depends on ``i`` alone.

    Args:
        examples: of rendered chains.
        recordings: at least one that is as probable as `SURE`; the others are left out.
        seed: of the order of the windows and of how each is varied.

    Raises:
        AudioError: if no recording is sure enough.
    """

    def __init__(self, examples: Examples, recordings: Sequence[Heard], seed: int) -> None:
        self.examples, self.config, self.seed = examples, examples.config, seed
        self.kept = [one for one in recordings if one.probability >= SURE]
        self._windows = [(one, k) for one in self.kept for k in range(len(one.pictures))]
        if not self._windows:
            raise AudioError(
                f"of {len(recordings)} recordings none is heard with a probability of {SURE}: nothing to learn from"
            )

    def __len__(self) -> int:
        return self.config.steps * self.config.batch_size

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """As `Examples` gives them."""
        half, odd = divmod(index, 2)
        if not odd:
            return self.examples[half]
        one, k = self._windows[number_of(half, len(self._windows), self.seed)]
        seen = one.pictures[k].clone()
        vary(seen, self.config, generator(self.seed, "beside", index))
        return {"picture": seen} | targets(self.config, one.chain, one.shelf)

    @property
    def digest(self) -> str:
        """Of everything that is learnt from the recordings, so that a run is not resumed on others."""
        found = sha256()
        for one in self.kept:
            found.update(one.pictures.numpy().tobytes() + repr((one.chain, one.shelf)).encode())
        return found.hexdigest()

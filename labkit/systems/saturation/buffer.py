"""Clips kept in memory: a stated number of gigabytes, refilled at a stated rate."""

import numpy as np

from labkit.signal.seeds import generator
from labkit.signal.sources import Clip, Source, check_split


class BufferedClips:
    """Clips by number, of which as many are kept as fit; after `reload_every` numbers another set takes their place.

    Reading a long file for every short clip is slow, and a whole collection does not fit into memory: so clips are
    drawn again and again from some that do. Which clip a number gives depends on the arguments and the number alone.

    Args:
        source: where the clips come from.
        split: "train", "validation" or "test".
        seed: of the draws.
        gigabytes: memory for clips, > 0; at least one is kept.
        reload_every: numbers that one filling serves, >= 1.

    Raises:
        ValueError: for a size or rate that is not positive.
    """

    def __init__(
        self,
        source: Source,
        split: str,
        seed: int,
        *,
        gigabytes: float = 0.5,
        reload_every: int = 2000,
    ) -> None:
        if not gigabytes > 0 or reload_every < 1:
            raise ValueError(
                f"gigabytes and reload_every must be positive, got {gigabytes} and {reload_every}"
            )
        self.source, self.split, self.seed, self.reload_every = (
            source,
            check_split(split),
            seed,
            reload_every,
        )
        self.slots = max(1, int(gigabytes * 1e9 / (4 * source.seconds * source.sample_rate)))
        self._filling, self._clips = -1, {}

    def __len__(self) -> int:
        return 2**31 - 1

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_filling": -1, "_clips": {}}  # each process fills its own

    def clip(self, index: int) -> Clip:
        """Clip `index`, 0 to `len(self)` - 1; one that is not in memory is made."""
        filling = index // self.reload_every
        if filling != self._filling:
            self._filling, self._clips = filling, {}
        slot = int(generator(self.seed, "buffer slot", index).integers(self.slots))
        if slot not in self._clips:
            self._clips[slot] = self.source.clip(
                generator(self.seed, "buffer", filling, slot), self.split
            )
        return self._clips[slot]

    @property
    def megabytes(self) -> float:
        """Memory that the clips take now."""
        return sum(np.asarray(clip.audio).nbytes for clip in self._clips.values()) / 1e6

"""What hearing costs, and what a buffer in memory saves: processor time, so that busy neighbours do not count."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.utils.data import default_collate

from labkit.measure.score import Row
from labkit.signal.files import read_audio, write_audio
from labkit.signal.seeds import generator
from labkit.signal.sources import AudioFolder
from labkit.systems.saturation.buffer import BufferedClips
from labkit.systems.saturation.config import BIG, BIG_STFT, Config
from labkit.systems.saturation.model import SaturationModel, build
from labkit.systems.saturation.views import hear


def speed_rows(model: SaturationModel, *, seed: int = 1, n: int = 4) -> list[Row]:
    """Processor time of a model, of the big ones (whose weights do not matter for it), and of clips from a folder.

    Args:
        model: in evaluation mode.
        seed: of the sounds.
        n: repetitions, of which the median counts.

    Returns:
        Rows of protocol ``"speed"``, in ms.
    """
    ours = hearing_ms(model, seed, n)
    theirs = {"big": BIG, "big, on an STFT": BIG_STFT}
    facts = {
        "protocol": "speed",
        "sources": "generated",
        "low": None,
        "high": None,
        "n": n,
        "seed": seed,
    }
    rows = [Row(name="light", metric="processor time for a second", unit="ms", ours=ours, **facts)]
    for name, config in theirs.items():
        spent_ms = hearing_ms(build(config).eval(), seed, n)
        rows.append(
            Row(name=name, metric="processor time for a second", unit="ms", ours=spent_ms, **facts)
        )
        rows.append(
            Row(
                name="light",
                metric=f"processor time, share of {name}",
                unit="",
                ours=ours / spent_ms,
                **facts,
            )
        )
    for name, spent_ms in clip_ms(model.config, seed, n).items():
        rows.append(
            Row(
                name=name, metric="processor time for a dry clip", unit="ms", ours=spent_ms, **facts
            )
        )
    return rows


def hearing_ms(model: SaturationModel, seed: int = 1, n: int = 4) -> float:
    """Processor time, front end included, for a second of wet audio with its reference."""
    config, rng = model.config, generator(seed, "speed")
    wet = rng.standard_normal(config.samples).astype(np.float32)
    reference = rng.standard_normal(config.samples + 2 * config.margin).astype(np.float32)

    @torch.inference_mode()
    def heard() -> None:
        model(default_collate([hear(config, wet, reference)]))

    return _median_ms(heard, n) / (config.samples / config.sample_rate)


def clip_ms(config: Config, seed: int = 1, n: int = 4) -> dict[str, float]:
    """Processor time for one dry clip of a folder of recordings, each read anew, or kept in memory by `BufferedClips`.

    The folder holds four FLAC files of half a minute.
    """
    with TemporaryDirectory() as folder:
        for k in range(4):
            noise = generator(seed, "recording", k).uniform(-0.5, 0.5, (1, 30 * config.sample_rate))
            write_audio(Path(folder) / f"{k}.flac", noise.astype(np.float32), config.sample_rate)
        source = AudioFolder(
            folder, seconds=config.clip_seconds, sample_rate=config.sample_rate, split_all="train"
        )
        buffer, files = (
            BufferedClips(source, "train", seed, gigabytes=0.02),
            sorted(Path(folder).iterdir()),
        )
        numbers = iter(range(10_000))
        for _ in range(200):  # all slots are filled once
            buffer.clip(next(numbers))
        return {
            "file read anew": _median_ms(lambda: read_audio(files[next(numbers) % 4]), n),
            f"buffer of {buffer.megabytes:.0f} MB": _median_ms(
                lambda: buffer.clip(next(numbers)), n
            ),
        }


def _median_ms(act: Callable[[], object], n: int) -> float:
    times = []
    for _ in range(n + 1):
        started = time.process_time()
        act()
        times.append(time.process_time() - started)
    return 1000 * float(np.median(times[1:]))  # the first one warms up

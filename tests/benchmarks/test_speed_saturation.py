"""What a training on somebody's folder saves by keeping clips in memory, and what an example costs."""

import itertools

import numpy as np
import pytest

from labkit.signal.files import read_audio, write_audio
from labkit.signal.seeds import generator
from labkit.signal.sources import AudioFolder
from labkit.systems.saturation import CONDITIONS, LIGHT
from labkit.systems.saturation.buffer import BufferedClips
from labkit.systems.saturation.data import render
from labkit.systems.saturation.views import hear


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four recordings of half a minute."""
    path = tmp_path_factory.mktemp("recordings")
    for k in range(4):
        noise = (
            generator(k, "recording")
            .uniform(-0.5, 0.5, (1, 30 * LIGHT.sample_rate))
            .astype(np.float32)
        )
        write_audio(path / f"{k}.flac", noise, LIGHT.sample_rate)
    return path


@pytest.mark.parametrize("kept", ["on disk", "in memory"])
def test_clips_of_a_folder(benchmark, folder, kept):
    files, numbers = sorted(folder.iterdir()), itertools.count()
    source = AudioFolder(
        folder, seconds=LIGHT.clip_seconds, sample_rate=LIGHT.sample_rate, split_all="train"
    )
    buffer = BufferedClips(source, "train", 0, gigabytes=0.02, reload_every=2000)

    def clip():
        n = next(numbers)
        return buffer.clip(n) if kept == "in memory" else read_audio(files[n % 4])

    benchmark.pedantic(clip, rounds=5, iterations=20, warmup_rounds=1)


@pytest.mark.parametrize("condition", ["level", "mp3", "wet", "wet_curve"])
def test_an_example_and_what_is_heard_of_it(benchmark, folder, condition):
    source = AudioFolder(
        folder, seconds=LIGHT.clip_seconds, sample_rate=LIGHT.sample_rate, split_all="train"
    )
    clip = source.clip(generator(0, "clip"), "train")

    def example():
        made = render(LIGHT, clip, CONDITIONS[condition], generator(0, "render"))
        return hear(LIGHT, made.wet, made.reference)

    benchmark.pedantic(example, rounds=5, iterations=2, warmup_rounds=1)

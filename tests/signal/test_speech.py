"""Babble: repeatable, finite, at its level, with speech's rhythm; voices stay in their split."""

import numpy as np
import pytest

from labkit.signal.seeds import generator
from labkit.signal.sources import disjoint
from labkit.signal.speech import GeneratedSpeech, Speaker, utterance


def test_same_stream_same_samples_and_another_stream_others():
    one, two, other = (utterance(generator(0, "t", k), seconds=0.5) for k in (1, 1, 2))
    assert one.dtype == np.float32
    assert one.shape == (1, 11_025)
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("sample_rate", [8_000, 22_050, 48_000])
def test_level_and_rhythm(sample_rate):
    audio = utterance(generator(0, "rhythm"), sample_rate=sample_rate, seconds=4.0)
    assert np.isfinite(audio).all()
    assert np.abs(audio).max() == pytest.approx(0.708, rel=1e-3)
    frame = sample_rate // 50
    level = np.sqrt(np.mean(audio[0, : 200 * frame].reshape(200, frame) ** 2, axis=1))
    loud, soft = np.quantile(level, (0.95, 0.05))
    assert 20 * np.log10(loud / soft) > 15  # syllables and closures; a steady tone has 0 dB


def test_pitch_is_the_speakers():
    speaker = Speaker(120.0, 1.0, -6.0, -60.0, 0.3, 0.0, -80.0)
    audio = utterance(generator(0, "pitch"), speaker=speaker, seconds=3.0)[0]
    spectrum = (
        np.abs(np.fft.rfft(audio * audio**2)) ** 2
    )  # the cube restores a fundamental that the throat weakens
    hz = np.fft.rfftfreq(len(audio), 1 / 22_050)
    near = spectrum[(hz > 108) & (hz < 132)].max()
    assert (
        near > 10 * spectrum[(hz > 145) & (hz < 215)].max()
    )  # between the first two harmonics there is nothing


def test_groups_are_disjoint_and_named():
    source = GeneratedSpeech(seconds=0.3, voices=(5, 2, 3))
    assert disjoint(source) == {"train": 5, "validation": 2, "test": 3}
    clip = source.clip(generator(0, "clip"), "test")
    assert clip.source_id in source.groups("test")
    assert clip.kind == "generated"


@pytest.mark.parametrize(
    ("arguments", "says"), [({"sample_rate": 4000}, "8000"), ({"seconds": 0.0}, "seconds")]
)
def test_bad_arguments_are_named(arguments, says):
    with pytest.raises(ValueError, match=says):
        utterance(generator(0, "bad"), **arguments)

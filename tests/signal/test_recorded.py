"""Recorded instruments as a source, and what stands between a chain and a file."""

import csv

import numpy as np
import pytest

from labkit.signal.behind import behind_chain
from labkit.signal.pool import SPLITS
from labkit.signal.recorded import RecordedGuitars, recorded_groups
from labkit.signal.seeds import generator
from labkit.signal.sources import load_phrase


def test_no_instrument_or_player_is_in_two_splits(real_data):
    splits = [recorded_groups(split) for split in SPLITS]
    named = [group for groups in splits for group in groups]
    assert len(named) == len(set(named))
    assert min(map(len, splits)) >= 6
    with open(real_data / "train_audio" / "MANIFEST.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["group"] for row in rows} == set(named)
    split_of = {
        group: split for split, groups in zip(SPLITS, splits, strict=True) for group in groups
    }
    for key in ("sha256", "pair_id", "instrument"):  # one take, one performance, one guitar
        found = {}
        for row in rows:
            if row[key]:
                found.setdefault(row[key], set()).add(split_of[row["group"]])
        assert not [name for name, where in found.items() if len(where) > 1], key


@pytest.mark.usefixtures("real_data")
@pytest.mark.parametrize("split", SPLITS)
def test_clips_come_from_their_split_and_are_repeatable(split):
    source = RecordedGuitars(seconds=1.0)
    clips = [source.clip(generator(0, "recorded", i), split) for i in range(12)]
    assert {clip.source_id for clip in clips} <= set(source.groups(split))
    assert len({clip.source_id for clip in clips}) > 2
    for clip in clips:
        assert (clip.audio.shape, clip.audio.dtype) == ((1, 44_100), np.float32)
        assert 1e-4 < np.abs(clip.audio).max() < 8
    again = RecordedGuitars(seconds=1.0).clip(generator(0, "recorded", 3), split)
    assert np.array_equal(again.audio, clips[3].audio)


def test_what_is_behind_a_chain_keeps_length_and_full_scale_and_moves_the_sound():
    riff, rate = load_phrase("riff")
    wet = np.float32(0.5) * riff[:1, :rate]
    moved = 0
    for i in range(40):
        out = behind_chain(wet, rate, generator(0, "behind", i))
        assert (out.shape, out.dtype) == (wet.shape, np.float32)
        assert np.isfinite(out).all()
        assert 1e-3 < np.abs(out).max() <= 1
        assert np.array_equal(out, behind_chain(wet, rate, generator(0, "behind", i)))
        moved += not np.allclose(out, wet, atol=1e-3)
    assert moved > 25
    with pytest.raises(ValueError, match="split must be one of"):
        behind_chain(wet, rate, generator(0, "behind"), split="tests")


def test_a_cabinet_behind_the_chain_takes_the_treble_off():
    burst = 0.1 * np.random.default_rng(0).standard_normal((1, 44_100)).astype(np.float32)

    def treble_share(i, cabinet):
        out = behind_chain(burst, 44_100, generator(0, "behind", i), cabinet=cabinet)
        power = np.abs(np.fft.rfft(out[0])) ** 2
        return power[11_025:].sum() / power.sum()

    assert np.median([treble_share(i, False) for i in range(9)]) > 0.3
    assert np.median([treble_share(i, True) for i in range(9)]) < 0.02

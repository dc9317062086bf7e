"""Melodies on Vital's patches without effects, as a source of dry sound."""

import numpy as np
import pytest

from labkit.effects.synths.phrases import VitalPhrases
from labkit.effects.synths.vital import Vital
from labkit.signal.seeds import generator
from labkit.signal.sources import disjoint


def test_patches_belong_to_one_split_each() -> None:
    assert disjoint(VitalPhrases(patches=(30, 4, 6))) == {"train": 30, "validation": 4, "test": 6}


def test_bad_sizes_are_named() -> None:
    with pytest.raises(ValueError, match="seconds must be above 0 and patches three counts"):
        VitalPhrases(seconds=0.0)
    with pytest.raises(ValueError, match="split must be one of"):
        VitalPhrases().clip(generator(0, "clip"), "everything")


def test_a_clip_is_heard_at_its_rate_and_no_effect_is_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vita", reason="the package vita is not installed")
    asked, render = [], Vital.render
    monkeypatch.setattr(
        Vital,
        "render",
        lambda self, values, **given: asked.append(values) or render(self, values, **given),
    )
    with VitalPhrases(seconds=1.0, sample_rate=22_050, patches=(5, 1, 1)) as source:
        clips = [source.clip(generator(0, "clip", k), "train") for k in range(3)]
        assert {clip.source_id for clip in clips} <= set(source.groups("train"))
    for clip in clips:
        assert (clip.audio.shape, clip.audio.dtype, clip.sample_rate, clip.kind) == (
            (1, 22_050),
            np.float32,
            22_050,
            "vital",
        )
        assert 1e-3 < np.abs(clip.audio).max() <= 1
    assert all(
        values["chorus_dry_wet"] == values["reverb_dry_wet"] == values["distortion_drive"] == 0
        for values in asked
    )
    assert {values["osc_1_unison_voices"] for values in asked} == {"1"}
    assert len({values["note_pitch"] for values in asked}) > 1

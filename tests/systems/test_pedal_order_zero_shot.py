"""Real units: which files count, what they are called, and how the answers are scored."""

from types import SimpleNamespace

import numpy as np
import pytest

from labkit.signal.files import write_audio
from labkit.systems import pedal_order
from labkit.systems.pedal_order import zero_shot


@pytest.fixture
def folder(tmp_path, monkeypatch):
    names = (
        "egfxset_wet/bd-2_s1.wav",
        "egfxset_wet/ph_s1.wav",
        "egfxset_wet/fl_s1.wav",
        "pairs/egfxset/rat_0_wet.flac",
    )
    for name in (*names, "pairs/egfxset/rat_0_dry.flac"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_audio(tmp_path / name, np.full((1, 2000), 0.1, dtype=np.float32), 44_100)
    monkeypatch.setenv("LABKIT_REAL_DATA", str(tmp_path))
    return tmp_path


def test_wet_files_of_units_that_the_shelf_knows(folder):
    """A flanger is none of the six, and a dry file none at all."""
    found = [(file.name, pedal) for file, pedal in zero_shot.real_units(folder)]
    assert found == [
        ("bd-2_s1.wav", "distortion"),
        ("ph_s1.wav", "phaser"),
        ("rat_0_wet.flac", "distortion"),
    ]


@pytest.mark.usefixtures("folder")
def test_shares_are_counted_by_hand(monkeypatch):
    answers = iter([("distortion", "reverb"), ("phaser",), ("chorus",)])
    said = lambda *_args, **_options: SimpleNamespace(chain=SimpleNamespace(names=next(answers)))  # noqa: E731
    monkeypatch.setattr(zero_shot, "predict", said)
    lines = []
    named, alone = zero_shot.unit_rows(None, say=lines.append)
    assert (named.ours, alone.ours) == (pytest.approx(2 / 3), pytest.approx(1 / 3))
    assert named.prior == pytest.approx(2 / 3)  # always "distortion"
    assert (named.n, named.sources) == (3, "real")
    assert lines[0] == "bd-2_s1: distortion, heard as distortion reverb"


def test_no_recordings_no_rows(tmp_path, monkeypatch):
    monkeypatch.setenv("LABKIT_REAL_DATA", str(tmp_path))
    assert zero_shot.unit_rows(None) == []


def test_plug_ins_of_other_makers_stand_alone_behind_new_clips(monkeypatch, tmp_path):
    monkeypatch.setenv("LABKIT_CACHE", str(tmp_path))
    foreign = (
        zero_shot.ForeignPedal("distortion", "distortion", {"drive_db": 0.9}),
        zero_shot.ForeignPedal("gain", "reverb"),
        zero_shot.ForeignPedal("nobody has this", "chorus"),
    )
    monkeypatch.setattr(zero_shot, "FOREIGN", foreign)
    config = pedal_order.Config(seconds=1.0, preroll_seconds=0.25)
    peaks, lines = [], []

    def said(_model, audio, _rate, *, shelf):
        assert audio.shape == (1, config.samples)
        assert shelf == zero_shot.SIX
        peaks.append(np.abs(audio).max())
        names = ("distortion",) if len(peaks) <= 3 else ("distortion", "reverb")
        return SimpleNamespace(chain=SimpleNamespace(names=names))

    monkeypatch.setattr(zero_shot, "predict", said)
    model = SimpleNamespace(config=config)
    rows = {
        row.metric: row
        for row in zero_shot.plugin_rows(model, n=3, sources=("generated",), say=lines.append)
    }
    assert lines[0].startswith("plug-ins that are not installed: nobody has this")
    assert lines[1] == "generated, distortion: distortion, heard as distortion"
    assert rows["the pedal is named"].ours == 1.0
    assert rows["and nothing else"].ours == 0.5
    assert (rows["the pedal is named"].n, rows["the pedal is named"].prior) == (6, 0.5)
    assert rows["the pedal is named: gain (reverb)"].ours == 1.0
    # The same clips, first driven hard, then as they were.
    assert not np.allclose(peaks[:3], peaks[3:])

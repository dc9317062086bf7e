"""Sources: one face, and no group in two splits."""

import numpy as np
import pytest

from labkit.signal.files import AudioError, AudioFileError, write_audio
from labkit.signal.soundfont import SoundFontMissingError, find_soundfont
from labkit.signal.sources import (
    AudioFolder,
    Clip,
    GeneratedGuitars,
    Mixture,
    Sampled,
    SingleNotes,
    SplicedNotes,
    disjoint,
)

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 recordings of a second by 20 players: each a sine of its own pitch, silent in its first half."""
    path = tmp_path_factory.mktemp("recordings")
    time = np.arange(8_000) / 8_000
    for index in range(40):
        tone = 0.5 * np.sin(2 * np.pi * (200 + 10 * index) * time) * (time > 0.5)
        (path / f"player{index // 2:02d}").mkdir(exist_ok=True)
        write_audio(
            path / f"player{index // 2:02d}" / f"take_{index % 2}.wav",
            tone[None].astype(np.float32),
            8_000,
        )
    (path / "notes.txt").write_text("not audio")
    return path


@pytest.fixture(params=["generated", "notes", "spliced", "sampled", "folder", "mixture"])
def source(request, folder):
    if request.param in ("sampled", "mixture"):
        try:
            find_soundfont()
        except SoundFontMissingError as error:
            pytest.skip(f"no soundfont: {error}")
    made = {
        "generated": lambda: GeneratedGuitars(seconds=0.3, sample_rate=16_000, guitars=(20, 5, 5)),
        "notes": lambda: SingleNotes(seconds=0.3, sample_rate=16_000, guitars=(20, 5, 5)),
        "spliced": lambda: SplicedNotes(seconds=0.3, sample_rate=16_000, guitars=(20, 5, 5)),
        "sampled": lambda: Sampled(seconds=0.3, sample_rate=16_000, phrases=20),
        "folder": lambda: AudioFolder(folder, seconds=0.3, sample_rate=16_000),
    }
    if request.param == "mixture":
        return Mixture([made[name]() for name in ("generated", "sampled", "folder")], [1, 1, 2])
    return made[request.param]()


def test_splits_are_disjoint_and_none_is_empty(source):
    counts = disjoint(source)
    assert list(counts) == list(SPLITS)
    assert min(counts.values()) > 0
    assert counts["train"] > counts["test"]


def test_clips_belong_to_their_split(source):
    rng = np.random.default_rng(0)
    for split in SPLITS:
        groups = set(source.groups(split))
        for _ in range(6):
            clip = source.clip(rng, split)
            assert isinstance(clip, Clip)
            assert (clip.audio.shape, clip.audio.dtype, clip.sample_rate) == (
                (1, 4_800),
                np.float32,
                16_000,
            )
            assert np.isfinite(clip.audio).all()
            assert clip.source_id in groups
            assert clip.kind in ("generated", "notes", "spliced", "sampled", "real")


def test_same_stream_same_clip(source):
    first, second = (source.clip(np.random.default_rng(3), "train") for _ in range(2))
    assert first.source_id == second.source_id
    np.testing.assert_array_equal(first.audio, second.audio)


def test_an_unknown_split_is_named(source):
    for call in (
        lambda: source.groups("dev"),
        lambda: source.clip(np.random.default_rng(0), "dev"),
    ):
        with pytest.raises(
            ValueError, match="split must be one of train, validation, test, got 'dev'"
        ):
            call()


def test_disjoint_finds_a_leak():
    class Leaky:
        kind, seconds, sample_rate = "real", 1.0, 8_000

        def groups(self, split):
            return ["a", "b"] if split == "train" else ["b", split]

    with pytest.raises(ValueError, match=r"1 groups are both in train and in validation, e.g. b"):
        disjoint(Leaky())


def test_a_split_of_files_does_not_change_when_files_are_added(folder, tmp_path):
    for file in sorted(folder.rglob("*.wav"))[:20]:
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    few, all_files = AudioFolder(tmp_path), AudioFolder(folder)
    for split in SPLITS:
        names = {name.split("/", 2)[2] for name in few.groups(split)}
        assert names <= {name.split("/", 2)[2] for name in all_files.groups(split)}


def test_files_of_one_player_stay_together(folder):
    source = AudioFolder(folder, group=lambda name: name.split("/")[0])
    assert sum(disjoint(source).values()) == 20
    for split in SPLITS:
        assert len(source.files(split)) == 2 * len(source.groups(split))


def test_all_files_in_one_split(folder):
    source = AudioFolder(folder, split_all="test")
    assert disjoint(source) == {"train": 0, "validation": 0, "test": 40}
    with pytest.raises(AudioError, match="none of its files fell in 'train'"):
        source.clip(np.random.default_rng(0), "train")


def test_excerpts_avoid_silence_and_short_files_are_padded(folder):
    source = AudioFolder(folder, seconds=0.1, sample_rate=8_000, split_all="test")
    rng = np.random.default_rng(0)
    silent = sum(np.abs(source.clip(rng, "test").audio).max() < 1e-4 for _ in range(100))
    assert silent <= 3  # 4/9 of all places are silent; eight tries leave 0.2 % of them
    long = (
        AudioFolder(folder, seconds=2.0, sample_rate=8_000, split_all="test")
        .clip(rng, "test")
        .audio
    )
    assert long.shape == (1, 16_000)
    assert not long[0, 8_000:].any()


def test_folder_errors(tmp_path):
    with pytest.raises(AudioFileError, match="a folder of audio files was expected"):
        AudioFolder(tmp_path / "nowhere")
    with pytest.raises(AudioFileError, match="no audio files in this folder"):
        AudioFolder(tmp_path)
    (tmp_path / "bad.wav").write_bytes(b"hello, I am not audio")
    with pytest.raises(AudioFileError, match=r"bad\.wav"):
        AudioFolder(tmp_path, split_all="test").clip(np.random.default_rng(0), "test")
    with pytest.raises(ValueError, match="split must be one of"):
        AudioFolder(tmp_path, split_all="eval")
    with pytest.raises(ValueError, match="seconds must be above 0, got 0"):
        AudioFolder(tmp_path, seconds=0)


def test_mixture_draws_by_weight(folder):
    guitars = GeneratedGuitars(seconds=0.05, sample_rate=8_000, guitars=(2, 1, 1))
    files = AudioFolder(folder, seconds=0.05, sample_rate=8_000)
    mixture = Mixture([guitars, files], [1, 3])
    rng = np.random.default_rng(0)
    kinds = [mixture.clip(rng, "train").kind for _ in range(200)]
    assert 125 < kinds.count("real") < 175  # binomial(200, 3/4): 4 standard deviations
    assert {mixture.clip(rng, "train").kind for _ in range(20)} == {"generated", "real"}
    only = Mixture([guitars, files], [0, 1])
    assert {only.clip(rng, "train").kind for _ in range(20)} == {"real"}


def test_mixture_errors(folder):
    guitars = GeneratedGuitars(seconds=0.1, sample_rate=8_000)
    with pytest.raises(ValueError, match="must pair up"):
        Mixture([guitars], [1, 2])
    with pytest.raises(ValueError, match="must pair up"):
        Mixture([])
    with pytest.raises(
        ValueError,
        match=r"one sample_rate and one length, got \[\('generated', 8000, 0.1\), \('real'",
    ):
        Mixture([guitars, AudioFolder(folder, seconds=0.1)])


def test_generated_guitars_errors():
    with pytest.raises(ValueError, match="guitars three counts"):
        GeneratedGuitars(guitars=(10, 0, 1))


def test_a_single_note_begins_once_and_spliced_notes_begin_often():
    def onsets(source, seed):
        audio = source.clip(np.random.default_rng(seed), "train").audio[0]
        level = np.sqrt(np.square(audio.reshape(-1, 320)).mean(1)) + 1e-6  # 20 ms
        rises = np.flatnonzero(level[1:] > 3 * level[:-1])
        return int((np.diff(rises, prepend=-10) > 3).sum())

    sizes = {"seconds": 2.0, "sample_rate": 16_000, "guitars": (20, 5, 5)}
    single, spliced = (
        [onsets(kind(**sizes), s) for s in range(12)] for kind in (SingleNotes, SplicedNotes)
    )
    assert (
        np.mean(single) < 1.2 < 1.7 < np.mean(spliced)
    )  # of about four: joins of equally loud notes do not rise

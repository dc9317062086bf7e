"""Sources: one face, and no group in two splits."""

from pathlib import Path

import numpy as np
import pytest

from labkit.signal.files import AudioFileError, read_audio, write_audio
from labkit.signal.pool import SPLITS
from labkit.signal.sampled import Sampled
from labkit.signal.seeds import generator
from labkit.signal.sources import AudioFolder, GeneratedGuitars, GeneratedMixes, Mixture
from labkit.signal.speech import GeneratedSpeech

RATE = 16_000
SIZES = {"seconds": 0.3, "sample_rate": RATE}


def disjoint(source):
    """How many groups each split has, none of them in two splits."""
    found = {split: set(source.groups(split)) for split in SPLITS}
    assert len(set().union(*found.values())) == sum(map(len, found.values()))
    return {split: len(ids) for split, ids in found.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 recordings of a second by 20 players: sines, silent in their first half."""
    path = tmp_path_factory.mktemp("recordings")
    time = np.arange(8_000) / 8_000
    for index in range(40):
        tone = 0.5 * np.sin(2 * np.pi * (200 + 10 * index) * time) * (time > 0.5)
        player = path / f"player{index // 2:02d}"
        player.mkdir(exist_ok=True)
        write_audio(player / f"take_{index % 2}.wav", tone[None].astype(np.float32), 8_000)
    (path / "notes.txt").write_text("not audio")
    return path


@pytest.fixture(params=["guitars", "mixes", "speech", "sampled", "folder", "mixture"])
def source(request, folder):
    if request.param in ("sampled", "mixture"):
        request.getfixturevalue("soundfont")
    made = {
        "guitars": lambda: GeneratedGuitars(**SIZES, counts=(20, 5, 5)),
        "mixes": lambda: GeneratedMixes(seconds=0.3, sample_rate=32_000, counts=(5, 2, 2)),
        "speech": lambda: GeneratedSpeech(**SIZES, counts=(5, 2, 3)),
        "sampled": lambda: Sampled(**SIZES),
        "folder": lambda: AudioFolder(folder, **SIZES),
    }
    if request.param == "mixture":
        return Mixture([made[name]() for name in ("guitars", "sampled", "folder")], [1, 1, 2])
    return made[request.param]()


def test_splits_are_disjoint_and_none_is_empty(source):
    counts = disjoint(source)
    assert list(counts) == list(SPLITS)
    assert min(counts.values()) > 0
    assert counts["train"] > counts["test"]


def test_clips_belong_to_their_split_and_to_their_stream(source):
    rng = np.random.default_rng(0)
    shape = (1, round(0.3 * source.sample_rate))
    for split in SPLITS:
        groups = set(source.groups(split))
        for _ in range(4):
            clip = source.clip(rng, split)
            assert (clip.audio.shape, clip.audio.dtype) == (shape, np.float32)
            assert clip.sample_rate == source.sample_rate
            assert np.isfinite(clip.audio).all()
            assert clip.source_id in groups
            assert clip.kind in ("generated", "sampled", "real")
    first, second = (source.clip(np.random.default_rng(3), "train") for _ in range(2))
    assert first.source_id == second.source_id
    np.testing.assert_array_equal(first.audio, second.audio)


def test_a_split_of_files_does_not_change_when_files_are_added(folder, tmp_path):
    for file in sorted(folder.rglob("*.wav"))[:20]:
        (tmp_path / file.parent.name).mkdir(exist_ok=True)
        (tmp_path / file.parent.name / file.name).write_bytes(file.read_bytes())
    few, all_files = AudioFolder(tmp_path), AudioFolder(folder)
    for split in SPLITS:
        names = {name.split("/", 2)[2] for name in few.groups(split)}
        assert names <= {name.split("/", 2)[2] for name in all_files.groups(split)}


@pytest.mark.parametrize("group", ["folder", "folder:2", "csv", lambda name: name.split("/")[0]])
def test_files_of_one_player_stay_together(folder, group, tmp_path):
    if group == "csv":
        group = str(tmp_path / "players.csv")
        rows = [
            f"{file.parent.name}/{file.name},{file.parent.name}" for file in folder.rglob("*.wav")
        ]
        Path(group).write_text("\n".join(["file,group", *rows]), encoding="utf-8-sig")
    source = AudioFolder(folder, group=group)
    assert sum(disjoint(source).values()) == 20
    for split in SPLITS:
        assert len(source.files(split)) == 2 * len(source.groups(split))


def test_a_group_can_be_the_beginning_of_a_name(folder, tmp_path):
    groups = AudioFolder(folder, group="prefix", split_all="test").groups("test")
    assert groups == [f"file/{folder.name}/take"]
    groups = AudioFolder(folder, group="prefix:_0", split_all="test").groups("test")
    assert groups == [f"file/{folder.name}/{name}" for name in ("take", "take_1")]
    table = tmp_path / "some.csv"
    table.write_text("file,group\nplayer00/take_0.wav,a\n")
    for group, words in {
        "player": "groups must be folder, .* got 'player'",
        str(table): r"some\.csv has no row for the file player00/take_1",
        str(folder / "none.csv"): r"none\.csv",
    }.items():
        with pytest.raises((ValueError, OSError), match=words):
            AudioFolder(folder, group=group)
    for rows in (b"player00/take_0.wav", b"\xe9.wav,a", b""):
        table.write_bytes(b"file,group\n" + rows)
        with pytest.raises(ValueError, match=r"some\.csv: "):
            AudioFolder(folder, group=str(table))


def test_hidden_files_are_passed_over_and_copies_of_one_take_are_one(tmp_path):
    rng = generator(0, "takes")
    for name in ("take08", "b", "c"):
        take = 0.1 * rng.standard_normal((1, 2_000)).astype(np.float32)
        copy = write_audio(tmp_path / f"{name}_again.wav", take, 8_000)
        write_audio(tmp_path / f"{name}.flac", read_audio(copy)[0], 8_000)
    for name in ("._take08.flac", ".ipynb_checkpoints/b.flac", "__MACOSX/b.flac", ".x/y/z.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no audio")
    source = AudioFolder(tmp_path)
    assert sum(disjoint(source).values()) == 3
    for split in SPLITS:
        assert len(source.files(split)) == 2 * len(source.groups(split))
    for name in ("1", "2"):  # silence is no take
        write_audio(tmp_path / f"silent{name}.wav", np.zeros((1, 50), np.float32), 8_000)
    names = AudioFolder(tmp_path, split_all="test").groups("test")
    kept = ("b", "c", "silent1", "silent2", "take08")
    assert names == [f"file/{tmp_path.name}/{name}" for name in kept]
    (tmp_path / "other").mkdir()
    (tmp_path / "b_again.wav").rename(tmp_path / "other" / "d.wav")
    (tmp_path / "c_again.wav").rename(tmp_path / "other" / "e.wav")
    (tmp_path / "third").mkdir()
    (tmp_path / "c.flac").rename(tmp_path / "third" / "f.flac")
    joined = AudioFolder(tmp_path, group="folder", split_all="test").groups("test")
    kept = ("b", "silent1", "silent2", "take08")  # b, other and third share takes
    assert joined == [f"file/{tmp_path.name}/{name}" for name in kept]


def test_excerpts_avoid_silence_and_short_files_are_padded(folder):
    def clips(seconds, n):
        source = AudioFolder(folder, seconds=seconds, sample_rate=8_000, split_all="test")
        rng = np.random.default_rng(0)
        return [source.clip(rng, "test").audio for _ in range(n)]

    silent = sum(np.abs(audio).max() < 1e-4 for audio in clips(0.1, 100))
    assert silent <= 3  # 4/9 of all places are silent; eight tries leave 0.2 % of them
    (long,) = clips(2.0, 1)
    assert long.shape == (1, 16_000)
    assert not long[0, 8_000:].any()


def test_a_file_that_is_no_audio_is_named(tmp_path):
    with pytest.raises(AudioFileError, match="no folder with files"):
        AudioFolder(tmp_path)
    for name in ("bad", "good", "worse"):
        write_audio(tmp_path / f"{name}.flac", np.full((1, 9_000), 0.1, np.float32), 8_000)
    (tmp_path / "bad.flac").write_bytes(b"hello, I am not audio")
    (tmp_path / "worse.flac").write_bytes((tmp_path / "good.flac").read_bytes()[:-30])
    with pytest.raises(AudioFileError, match=r"2 of 3 files in .*bad\.flac: .*; .*worse\.flac"):
        AudioFolder(tmp_path)


def test_mixture_draws_by_weight(folder):
    sizes = {"seconds": 0.05, "sample_rate": 8_000}
    pair = [GeneratedGuitars(**sizes, counts=(2, 1, 1)), AudioFolder(folder, **sizes)]
    rng = np.random.default_rng(0)
    kinds = [Mixture(pair, [1, 3]).clip(rng, "train").kind for _ in range(200)]
    assert 125 < kinds.count("real") < 175  # binomial(200, 3/4): 4 standard deviations
    assert {Mixture(pair, [0, 1]).clip(rng, "train").kind for _ in range(20)} == {"real"}
    with pytest.raises(ValueError, match="must have one rate and length"):
        Mixture([pair[0], AudioFolder(folder, seconds=0.1)])

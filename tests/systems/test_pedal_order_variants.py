"""Other front ends than log-mel, the dry sound beside the wet one, and the runs that compare them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit.learn import codec
from labkit.signal.pool import build_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import SplicedNotes
from labkit.systems import pedal_order
from labkit.systems.pedal_order import front_ends
from labkit.systems.pedal_order.data import Examples, vary
from labkit.systems.pedal_order.train import sequence_loss
from labkit.systems.pedal_order.variants import VARIANTS, Variant, evaluate_variants

TINY_CODEC = codec.CodecConfig(
    encoder_dim=4, latent_dim=24, decoder_dim=32, n_codebooks=3, codebook_size=32
)
SMALL = pedal_order.Config(
    protocols=("three",),
    seconds=1.0,
    n_mels=32,
    width=32,
    n_heads=2,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
    n_examples=8,
    steps=2,
    batch_size=4,
    n_workers=0,
    warmup_steps=1,
)
FRONT_ENDS = ("mel", "codes", "latents")


@pytest.fixture(autouse=True)
def tiny_codec(tmp_path_factory, monkeypatch):
    """A tiny codec stands where the shipped one would, and is gone afterwards."""
    path = tmp_path_factory.mktemp("codec") / "codec.safetensors"
    codec.save(codec.build(TINY_CODEC), path)
    monkeypatch.setattr(codec, "shipped_path", lambda: path)
    front_ends._codec.cache_clear()
    yield
    front_ends._codec.cache_clear()


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    source = SplicedNotes(seconds=1.5, sample_rate=SMALL.sample_rate)
    return build_pool(tmp_path_factory.mktemp("pool") / "dry.npy", source, "train", 6, 0)


@pytest.mark.parametrize("hear_dry", [False, True])
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_examples_keep_their_shape_through_the_cache_and_the_network_hears_them(
    front_end, hear_dry, clips, tmp_path
):
    config = replace(SMALL, front_end=front_end, hear_dry=hear_dry)
    fresh, cached = Examples(config, [clips], 3), Examples(config, [clips], 3).cached(tmp_path)
    for index in range(4):
        first, second = cached[index], cached[index]
        assert first["picture"].shape == front_ends.shape(config)
        assert torch.equal(fresh[index]["picture"], first["picture"])
        assert torch.equal(first["picture"], second["picture"])
    batch = {key: torch.stack([cached[i][key] for i in range(4)]) for key in cached[0]}
    model = pedal_order.build(config)
    loss, _ = sequence_loss(config)(model, batch)
    loss.backward()
    stem = [p.grad for p in model.stem.parameters()]
    assert all(g is not None and g.isfinite().all() and g.abs().sum() > 0 for g in stem)


def test_codes_are_names_and_hidden_ones_have_a_name_of_their_own():
    config = replace(SMALL, front_end="codes", mask=0.5, tilt_db=20.0)
    audio = torch.from_numpy(
        generator(0, "t").standard_normal((2, SMALL.samples)).astype(np.float32)
    )
    codes = front_ends.picture(audio, config)
    assert codes.shape == (2, 3, -(-SMALL.samples // 512))
    assert torch.equal(codes, codes.round())
    assert 0 <= codes.min() <= codes.max() < 32
    whole = codes[0].clone()
    vary(whole, config, generator(3, "v"))
    changed = whole != codes[0]
    assert changed.any()
    assert (whole[changed] == 32).all()  # the word after the last; the tilt is for pictures only


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_level_is_heard_only_where_it_is_not_fixed(front_end):
    noise = generator(1, "t").standard_normal((1, SMALL.samples)).astype(np.float32)
    loud, soft = torch.from_numpy(0.1 * noise), torch.from_numpy(0.001 * noise)
    for fixed in (True, False):
        config = replace(SMALL, front_end=front_end, fix_level=fixed)
        same = torch.isclose(
            front_ends.picture(loud, config), front_ends.picture(soft, config), atol=1e-2
        )
        assert same.float().mean() > 0.95 if fixed else same.float().mean() < 0.9


def test_a_network_that_hears_dry_says_so_where_there_is_none():
    with pytest.raises(ValueError, match=r"dry must be \(1, 44100\), got none"):
        front_ends.picture(torch.zeros(1, 44_100), replace(SMALL, hear_dry=True))
    with pytest.raises(ValueError, match="front_end must be mel, codes or latents, got 'wave'"):
        replace(SMALL, front_end="wave")


def test_dry_stands_before_wet(clips):
    config = replace(SMALL, hear_dry=True)
    both = Examples(config, [clips], 3, training=False)[0]["picture"]
    wet = Examples(SMALL, [clips], 3, training=False)[0]["picture"]
    half = both.shape[1] // 2
    torch.testing.assert_close(both[:, half:], wet)
    assert not torch.equal(both[:, :half], wet)


def test_variants_are_trained_examined_and_resumed(tmp_path, monkeypatch):
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    said = []
    tiny = replace(SMALL, checkpoint_every=1)
    some = (
        Variant("log-mel", kinds=("notes",)),
        Variant("DAC codes", {"front_end": "codes"}, kinds=("generated",)),
    )
    facts = {"base": tiny, "variants": some, "n": 4, "sources": ("generated",), "say": said.append}
    rows = evaluate_variants(tmp_path / "runs", **facts)
    assert [(row.name, row.metric) for row in rows] == [
        (name, metric)
        for name in ("log-mel", "DAC codes")
        for metric in ("exact chain", "right set")
    ]
    again = evaluate_variants(tmp_path / "runs", **facts)
    assert [row.ours for row in again] == [row.ours for row in rows]
    monkeypatch.setattr(codec, "shipped_path", lambda: tmp_path / "nothing.safetensors")
    left = evaluate_variants(tmp_path / "runs", **facts)
    assert {row.name for row in left} == {"log-mel"}
    assert said[-1] == "DAC codes: left out, no codec ships"

"""Our transformer beside torch's own attention; laws of the decoder and its cache."""

import pytest
import torch
from torch import nn

from labkit.learn.transformer import Attention, Decoder, LatentAttention

EVERY_KIND = pytest.mark.parametrize(
    "kind", ["multi_head", "grouped_query", "multi_query", "latent"]
)


def decoder(kind="multi_head", *, max_length=24):
    torch.manual_seed(0)
    return Decoder(9, 32, 4, 2, max_length=max_length, kind=kind).eval()


def test_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(24, 4), nn.MultiheadAttention(24, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    x, source = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    expected, _ = theirs(x, source, source)
    # Float32 sums of 24 products in another order.
    torch.testing.assert_close(ours(x, source), expected, atol=1e-6, rtol=1e-5)


def test_fewer_heads_of_keys_are_many_that_agree():
    """Multi-head attention whose heads of keys and values repeat, two and two."""
    torch.manual_seed(0)
    few, many = Attention(24, 4, n_key_heads=2), Attention(24, 4)
    many.query, many.output = few.query, few.output
    with torch.no_grad():
        for name in ("weight", "bias"):
            parts = getattr(few.key_value, name).unflatten(0, (2, 2, 6)).repeat_interleave(2, dim=1)
            getattr(many.key_value, name).copy_(parts.flatten(0, 2))
    x, source = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    torch.testing.assert_close(few(x, source), many(x, source), atol=1e-6, rtol=1e-5)


def test_latent_attention_that_compresses_nothing_is_multi_head():
    torch.manual_seed(0)
    plain, latent = Attention(24, 4), LatentAttention(24, 4, rank=24)
    latent.query, latent.output = plain.query, plain.output
    with torch.no_grad():
        plain.key_value.bias.zero_()
        latent.latent.weight.copy_(torch.eye(24))
        latent.latent.bias.zero_()
        latent.key_value.weight.copy_(plain.key_value.weight)
    x, source = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    torch.testing.assert_close(latent(x, source), plain(x, source), atol=1e-6, rtol=1e-5)


@EVERY_KIND
def test_step_by_step_gives_the_logits_of_the_whole(kind, device):
    """One token or several at a time, two sources read by three rows each; none sees the future."""
    made, tokens = decoder(kind).to(device), torch.randint(9, (6, 20), device=device)
    memory = torch.randn(2, 7, 32, device=device)
    with torch.no_grad():
        cache, parts = made.start(memory).pick(torch.arange(6, device=device) % 2), []
        for new in tokens.split([1, 4, 1, 1, 13], dim=1):
            logits, cache = made.step(new, cache)
            parts.append(logits)
        whole = made(tokens, memory.repeat(3, 1, 1))
    # Float32 sums in another order.
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-4, rtol=0)
    assert torch.equal(torch.cat(parts, 1).argmax(-1), whole.argmax(-1))
    assert cache.length == 20


@EVERY_KIND
def test_the_cache_is_as_large_as_its_kind(kind):
    made = decoder(kind)
    cache = made.step(torch.zeros(1, 11, dtype=torch.long), made.start(torch.randn(1, 7, 32)))[1]
    # Heads of 8: keys and values of 4, 2 or 1 heads, or 8 latent numbers.
    floats = {"multi_head": 64, "grouped_query": 32, "multi_query": 16, "latent": 8}[kind]
    assert [layer.shape for layer in cache.own] == [(1, 11, floats)] * 2
    assert [layer.shape for layer in cache.source] == [(1, 7, floats)] * 2

"""Our transformer beside torch's own attention, and the properties that a decoder must have."""

import pytest
import torch
from torch import nn

from labkit.learn.encoders import ConvStem
from labkit.learn.transformer import Attention, Decoder, Encoder


def test_attention_equals_torch_multihead_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(24, 4), nn.MultiheadAttention(24, 4, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
    x, source = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    expected, weights = theirs(x, source, source, average_attn_weights=False)
    # Float32 sums of 24 products in another order.
    torch.testing.assert_close(ours(x, source), expected, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(ours.weights(x, source), weights, atol=1e-6, rtol=1e-5)


def test_a_decoder_does_not_see_the_future():
    torch.manual_seed(0)
    decoder = Decoder(9, 16, 2, 2, max_length=8).eval()
    memory, tokens = torch.randn(1, 3, 16), torch.tensor([[1, 4, 5, 6, 7]])
    changed = tokens.clone()
    changed[0, 3:] = 8
    before, after = decoder(tokens, memory), decoder(changed, memory)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3:], after[:, 3:])


def test_a_decoder_knows_the_order_of_its_tokens():
    torch.manual_seed(0)
    decoder = Decoder(9, 16, 2, 2, max_length=8).eval()
    memory = torch.randn(1, 3, 16)
    one, other = (decoder(torch.tensor([t]), memory)[:, -1] for t in ([1, 4, 5, 6], [1, 5, 4, 6]))
    assert (one - other).abs().max() > 1e-3


def test_every_weight_moves_after_one_step():
    torch.manual_seed(0)
    stem, encoder = ConvStem(32, 8, (4, 4, 4, 4, 6)), Encoder(8, 2, 2, max_length=12)
    decoder = Decoder(7, 8, 2, 2, max_length=6)
    weights = [p for module in (stem, encoder, decoder) for p in module.parameters()]
    before = [p.clone() for p in weights]
    optimizer = torch.optim.Adam(weights, lr=0.1)
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6], [2, 3, 4, 5, 6, 0]])
    logits = decoder(tokens, encoder(stem(torch.randn(2, 32, 24))))
    nn.functional.cross_entropy(logits.flatten(0, 1), tokens.roll(-1, 1).flatten()).backward()
    optimizer.step()
    stuck = [i for i, (old, new) in enumerate(zip(before, weights, strict=True)) if torch.equal(old, new)]
    assert stuck == []


@pytest.mark.parametrize(("frames", "steps"), [(87, 44), (88, 44), (89, 45)])
def test_the_stem_gives_one_vector_for_two_frames(frames, steps):
    assert ConvStem(32, 12, (2, 3, 4, 5, 6))(torch.zeros(2, 32, frames)).shape == (2, steps, 12)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="width must be a multiple of n_heads, got 10 and 4"):
        Attention(10, 4)
    with pytest.raises(ValueError, match="n_mels must be a multiple of 32, got 40"):
        ConvStem(40, 8, (2, 2, 2, 2, 2))
    with pytest.raises(ValueError, match="channels must hold five numbers"):
        ConvStem(32, 8, (2, 2))
    with pytest.raises(ValueError, match="at most 3 source positions, got 4"):
        Encoder(8, 2, 1, max_length=3)(torch.zeros(1, 4, 8))
    with pytest.raises(ValueError, match="at most 3 target positions, got 4"):
        Decoder(5, 8, 2, 1, max_length=3)(torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 1, 8))

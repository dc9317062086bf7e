"""What `labkit evaluate decoding` measures: both ways write the same, and the rows say what was timed."""

import pytest
import torch

from labkit.systems import decoding


@pytest.mark.parametrize("kind", decoding.KINDS)
def test_with_and_without_a_cache_the_same_is_written(kind):
    model, memory = decoding.decoder(12, 3, kind=kind, positions="rotary"), decoding.memory(3)
    written = decoding.write_cached(model, memory, 12)
    assert written.shape == (1, 12)
    assert torch.equal(written, decoding.write_uncached(model, memory, 12))


def test_rows_hold_times_their_ratios_and_bytes(monkeypatch):
    seconds = iter([0.8, 0.2] * 2 + [0.1] * 4)
    monkeypatch.setattr(decoding, "wall_seconds", lambda _run: next(seconds))
    monkeypatch.setattr(decoding, "find_spec", lambda _name: None)
    rows = decoding.evaluate(lengths=(4, 8))
    assert [row.n for row in rows if row.metric == "speed-up"] == [4, 8]
    assert [row.ours for row in rows if row.metric == "speed-up"] == pytest.approx([4.0, 4.0])
    assert [row.ours for row in rows if row.unit == "ms"][:4] == pytest.approx([200.0, 50.0, 100.0, 25.0])
    bytes_ = {row.name: row.ours for row in rows if row.unit == "bytes"}
    # Two layers, four heads of 48 numbers, 4 bytes each; the latent ones keep 48 and 24 for all heads together.
    assert bytes_ == {
        "multi head, rotary": 3072,
        "grouped query, rotary": 1536,
        "multi query, rotary": 768,
        "latent, rotary": 576,
    }


def test_the_library_beside_ours_is_of_our_size():
    pytest.importorskip("transformers", reason="transformers is not installed: its rows are left out")
    write = decoding.library_writer(9, 0)
    assert write(decoding.memory(0), 9).shape == (1, 9)

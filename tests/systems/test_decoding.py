"""What `labkit evaluate decoding` measures: both ways write the same, and the rows say what was timed."""

import pytest
import torch

from labkit.systems import decoding


@pytest.mark.parametrize(("kind", "positions"), decoding.KINDS)
def test_with_and_without_a_cache_the_same_is_written(kind, positions):
    model, memory = decoding.decoder(12, 3, kind=kind, positions=positions), decoding.memory(3)
    written = decoding.write_cached(model, memory, 12)
    assert written.shape == (1, 12)
    assert torch.equal(written, decoding.write_uncached(model, memory, 12))


def test_rows_hold_times_their_ratios_and_bytes(monkeypatch):
    # Two lengths: cached, uncached, and the last token both ways; then five kinds.
    seconds = iter([0.2, 0.8, 0.16, 0.96] * 2 + [0.1] * 5)
    monkeypatch.setattr(decoding, "wall_seconds", lambda _run: next(seconds))
    monkeypatch.setattr(decoding, "find_spec", lambda _name: None)
    rows = decoding.evaluate(lengths=(4, 8))
    speeds = [(row.n, row.ours) for row in rows if row.unit == "x"]
    assert speeds == [(n, pytest.approx(x)) for n in (4, 8) for x in (4.0, 6.0)]
    times = [row.ours for row in rows if row.unit == "ms"]
    assert times == pytest.approx([50.0, 200.0, 25.0, 100.0] + [12.5] * 5)
    bytes_ = {row.name: row.ours for row in rows if row.unit == "bytes"}
    # Two layers, four heads of 48 numbers, 4 bytes each; the latent ones keep 48, and 24 that turn, for all heads.
    assert list(bytes_.values()) == [3072, 1536, 768, 384, 576]
    assert list(bytes_)[-1] == "latent attention, rotary positions"


def test_the_last_token_is_read_alike_both_ways():
    model, memory, read = decoding.decoder(6, 0), decoding.memory(0), []
    hook = model.logits.register_forward_hook(lambda _m, _i, out: read.append(out[:, -1]))
    step, whole = decoding.last_token_runs(model, memory, 6)
    read.clear()
    step()
    whole()
    hook.remove()
    assert len(read) == 2 * decoding.LAST_TOKENS
    for logits in read[1:]:
        torch.testing.assert_close(
            logits, read[0], atol=1e-4, rtol=0
        )  # float32 sums in another order


def test_the_library_beside_ours_is_of_our_size():
    pytest.importorskip(
        "transformers", reason="transformers is not installed: its rows are left out"
    )
    write = decoding.library_writer(9, 0)
    assert write(decoding.memory(0), 9).shape == (1, 9)

"""One chain: rendered, printed, saved, put into canonical order, searched as a unit cube."""

import json
import pickle
from types import MappingProxyType

import numpy as np
import pytest
import torch

from labkit.effects import registry
from labkit.effects.chain import NO_PEDALS, Chain, ChainSampler, ChainSpace, Step, render_chains
from labkit.effects.effect import Effect, commutes
from labkit.effects.kernels import batched, over_time
from labkit.effects.parameters import space
from labkit.effects.registry import EFFECTS, effect
from labkit.measure.metrics import relative_error_db, si_sdr_db
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import db_to_amplitude, set_rms

RATE = 44_100
SAMPLER = ChainSampler(tuple(EFFECTS), "shuffled", max_length=6)
DRIVE = Step("distortion", {"drive_db": 20.0})
PEAK = Step("peak", {"cutoff_frequency_hz": 1000.0, "gain_db": 6.0, "q": 1.0})
DELAY = Step("delay", {"delay_seconds": 0.25, "feedback": 0.3, "mix": 0.4})
REVERB = Step("reverb", {"room_size": 0.5, "damping": 0.5, "mix": 0.3})
SQUEEZE = Step(
    "compressor", {"threshold_db": -35.0, "ratio": 6.0, "attack_ms": 5.0, "release_ms": 120.0}
)


def drawn(draw: int) -> Chain:
    return SAMPLER.sample(generator(0, "chain", draw))


def guitar(seconds: float = 0.6) -> np.ndarray:
    return set_rms(phrase(generator(0, "guitar"), sample_rate=RATE, seconds=seconds), -20.0)


def rendered(*steps: Step) -> np.ndarray:
    return Chain(steps).render(guitar(), RATE)


# Rendering


@pytest.mark.parametrize("draw", range(4))
def test_a_chain_is_its_pedals_one_after_the_other(draw):
    expected = guitar()
    for name, params in drawn(draw):
        expected = effect(name).render(expected, RATE, **params)
    np.testing.assert_array_equal(drawn(draw).render(guitar(), RATE), expected)


def test_the_empty_chain_is_a_copy_of_the_clean_sound():
    audio = guitar()
    out = Chain().render(audio, RATE)
    np.testing.assert_array_equal(out, audio)
    assert not np.shares_memory(out, audio)
    assert (str(Chain()), len(Chain()), Chain().names) == (NO_PEDALS, 0, ())
    assert Chain().canonical() == Chain()
    assert Chain().to_code().startswith(f"# {NO_PEDALS}\n")


@pytest.mark.parametrize(
    "steps", [(SQUEEZE, DELAY, DRIVE, SQUEEZE), (REVERB, SQUEEZE), (DRIVE, SQUEEZE), (DELAY,)]
)
def test_input_referred_sounds_as_the_hotter_input_does(steps):
    hot = Chain(steps).render(guitar() * np.float32(db_to_amplitude(6.0)), RATE)
    assert si_sdr_db(hot, Chain(steps).input_referred(6.0).render(guitar(), RATE)) > 90
    assert DELAY in steps[:1] or si_sdr_db(hot, rendered(*steps)) < 40


# Text


def test_a_chain_reads_as_text():
    text = "distortion(drive_db=20) -> peak(cutoff_frequency_hz=1e+03, gain_db=6, q=1)"
    assert str(Chain((DRIVE, PEAK))) == text
    assert list(Chain((DRIVE,))) == [("distortion", {"drive_db": 20.0})]


@pytest.mark.parametrize("draw", range(5))
def test_json_round_trip(draw, tmp_path):
    path, chain = tmp_path / "chain.json", drawn(draw)
    chain.save(path)
    assert Chain.load(path) == Chain.from_json(chain.to_json()) == chain
    content = json.loads(path.read_text())
    assert [row["effect"] for row in content["steps"]] == list(chain.names)
    assert content["summary"] == str(chain)
    assert Chain.from_json(json.dumps(content["steps"])) == chain
    assert list(tmp_path.iterdir()) == [path]
    assert pickle.loads(pickle.dumps(chain)) == chain
    assert Chain.from_json("[]") == Chain.from_json(Chain().to_json()) == Chain()


BROKEN = (
    "",
    "3",
    "{}",
    "[1]",
    '[{"effect": "gain"}]',
    '[{"effect": ["gain"], "params": {"gain_db": 1}}]',
    '[{"effect": "gain", "params": [1]}]',
    '[{"effect": "gain", "params": {"gain_db": "loud"}}]',
    '[{"effect": "gain", "params": {"gain_db": true}}]',
    "[" * 100_000,
    f'[{{"effect": "gain", "params": {{"gain_db": 1{"0" * 400}}}}}]',
)


@pytest.mark.parametrize("text", BROKEN, ids=lambda text: text[:50] or "empty")
def test_broken_json_is_refused(text):
    with pytest.raises(ValueError, match=r'a chain is a JSON list of \{"effect", "params"\}, got'):
        Chain.from_json(text)


@pytest.mark.parametrize("draw", range(6))
def test_the_printed_code_renders_the_same_samples(draw):
    scope: dict = {}
    code = drawn(draw).to_code()
    exec(compile(code, "board", "exec"), scope)
    wet = scope["board"](guitar(), RATE)
    np.testing.assert_array_equal(wet, drawn(draw).render(guitar(), RATE))
    assert "labkit" not in code


# Canonical order


def test_canonical_orders_by_hand():
    assert Chain((REVERB, PEAK, DELAY)).canonical().names == ("delay", "peak", "reverb")
    assert Chain((REVERB, DRIVE, DELAY)).canonical().names == ("reverb", "distortion", "delay")
    # peak may leave the echoes that stand after the drive, but not pass the drive
    ordered = Chain((REVERB, DRIVE, REVERB, PEAK)).canonical().names
    assert ordered == ("reverb", "distortion", "peak", "reverb")


@pytest.mark.parametrize("draw", range(30))
def test_swapping_neighbours_keeps_the_form_exactly_if_they_commute(draw):
    original = drawn(draw)
    form = original.canonical()
    assert form.canonical() == form
    assert sorted(form.names) == sorted(original.names)
    for i in range(len(original) - 1):
        steps = list(original.steps)
        steps[i], steps[i + 1] = steps[i + 1], steps[i]
        same = Chain(tuple(steps)).canonical() == form
        assert same == commutes(effect(steps[i].effect), effect(steps[i + 1].effect))


# Chains as points of a unit cube


def test_a_chain_space_turns_the_free_knobs_and_leaves_the_fixed_ones():
    space = ChainSpace((("peak", {"cutoff_frequency_hz": 80.0, "q": 0.8}), ("compressor", {})))
    knobs = ("threshold_db", "ratio", "attack_ms", "release_ms")
    assert [one.names for one in space.spaces] == [("gain_db",), knobs]
    unit = generator(0, "unit").uniform(size=(3, 5))
    chain = space.from_unit(unit[0])
    # 80 Hz lies below the range of a peak: legal here, but no chain of the registry
    assert chain.steps[0].params["cutoff_frequency_hz"] == 80.0
    assert chain.input_referred(0.0) == chain
    text = chain.to_json()
    assert Chain.from_json(text).to_json() == text
    with pytest.raises(ValueError, match="cutoff_frequency_hz must lie in"):
        Chain.from_json(text.replace('"in_range": false', '"in_range": true'))
    assert "PeakFilter(cutoff_frequency_hz=80.0" in chain.to_code()
    batch = torch.from_numpy(np.stack([guitar()] * 3))
    leaf = torch.from_numpy(unit).requires_grad_()
    wets = space.render_batch(batch, RATE, leaf)
    for row, wet in zip(unit, wets.detach(), strict=True):
        assert relative_error_db(space.from_unit(row).render(guitar(), RATE), wet) < -80
    wets[1].square().sum().backward()
    assert leaf.grad[1].all()
    assert not leaf.grad[[0, 2]].any()


def test_a_registered_pedal_of_ones_own_plays_in_a_chain_like_any_other(monkeypatch) -> None:
    monkeypatch.setattr(registry, "_EFFECTS", known := dict(EFFECTS))
    monkeypatch.setattr(registry, "EFFECTS", MappingProxyType(known))
    fold = batched(lambda audio, _, *, fold: torch.sin(over_time(fold) * audio))
    registry.register(Effect("folder", space(fold=(2.0, 9.0)), "", fold, linear=False))
    own = Step("folder", {"fold": 4.0})
    wet = rendered(PEAK, own, DELAY)
    bent = np.sin(4.0 * rendered(PEAK))
    assert relative_error_db(wet, Chain((DELAY,)).render(bent, RATE)) < -100
    assert "pedalboard has no folder" in Chain((PEAK, own)).to_code()
    with pytest.raises(ValueError, match="name must be a new one, got 'gain'"):
        registry.register(EFFECTS["gain"])
    with pytest.raises(ValueError, match="name must be in lower case, got 'Folder'"):
        registry.register(Effect("Folder", space(fold=(2.0, 9.0)), "", fold, linear=False))


# Batches of chains


PEDALS = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")


def drawn_chains(n: int, purpose: str, longest: int = 5) -> list[Chain]:
    sampler = ChainSampler(PEDALS, "shuffled", longest)
    return [sampler.sample(generator(0, purpose, k)) for k in range(n)]


def clips(n: int) -> torch.Tensor:
    rng = generator(0, "parity signals")
    guitar = set_rms(phrase(rng, sample_rate=RATE, seconds=0.3, style="strum"), -20.0)
    shifted = [(1 - 0.1 * k) * np.roll(guitar, 501 * k, axis=1) for k in range(n)]
    return torch.from_numpy(np.stack(shifted))


def test_a_batch_is_its_items_one_by_one_and_both_are_pedalboard():
    audio, chains = clips(6), [*drawn_chains(5, "batch"), Chain()]
    before = audio.clone()
    together = render_chains(audio, RATE, chains)
    for k, chain in enumerate(chains):
        alone = render_chains(audio[k : k + 1], RATE, [chain])[0]
        # threads may slice the lanes otherwise
        torch.testing.assert_close(together[k], alone, atol=1e-6, rtol=0)
        # A distortion of up to 30 dB raises what the phaser's -60 dB bound leaves; measured, the
        # worst is far below.
        assert relative_error_db(chain.render(audio[k].numpy(), RATE), alone) < -50.0, str(chain)
    assert torch.equal(audio, before)
    assert torch.equal(together[5], audio[5])

"""Batches of chains in torch: each item gets what it would get alone, in few launches."""

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, launches, render_chains
from labkit.effects.sampling import ChainSampler
from labkit.measure.metrics import relative_error_db
from labkit.signal.guitar import phrase
from labkit.signal.seeds import generator
from labkit.signal.units import set_rms

RATE = 44_100
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


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sound_in_half_precision_leaves_the_knobs_alone(dtype):
    delay = ("delay", {"delay_seconds": 0.0123, "feedback": 0.3, "mix": 0.5})
    steps = [delay, ("lowpass", {"cutoff_frequency_hz": 900.0})]
    wet = render_chains(clips(2).to(dtype), RATE, [steps, steps])
    assert wet.dtype == dtype
    # The rounding of the sound, three times: a step of bfloat16 is 2^-8. A delay some samples off
    # leaves 0 dB.
    assert relative_error_db(render_chains(clips(2), RATE, [steps, steps]), wet.float()) < -40.0


@pytest.mark.parametrize(
    ("orders", "n_launches"),
    [
        ([], 0),
        ([(), ()], 0),
        ([("delay", "reverb")] * 4, 2),
        ([("delay", "reverb"), ("reverb", "delay")], 3),
        ([("chorus", "delay", "reverb"), ("delay", "reverb"), ("reverb",)], 3),
        # The few that begin like the second and go on like the first must not wait for both.
        ([("delay",) * 3] * 3 + [("reverb",) * 3] * 2 + [("reverb", "delay", "delay")], 6),
    ],
)
def test_pedals_wait_for_each_other(orders, n_launches):
    plan = launches(orders)
    assert len(plan) == n_launches
    for item, order in enumerate(orders):
        assert tuple(name for name, items in plan if item in items) == tuple(order)


def test_hundreds_of_chains_take_few_launches():
    orders = [chain.names for chain in drawn_chains(256, "many")]
    # positions times pedals, against some 770 pedals one by one
    assert len(launches(orders)) <= 5 * len(PEDALS)

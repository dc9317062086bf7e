"""Batches of chains of torch pedals: each item gets what it would get alone, in few launches."""

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import EFFECTS, effect
from labkit.effects.sampling import ChainSampler
from labkit.effects.twins import NAMES, twin
from labkit.effects.twins.board import from_unit, launches, render_chains, stack_knobs
from labkit.measure.parity import relative_error_db, signals
from labkit.signal.seeds import generator

RATE = 44_100
PEDALS = ("compressor", "distortion", "chorus", "phaser", "delay", "reverb")


def drawn_chains(n: int, purpose: str, longest: int = 5) -> list[Chain]:
    sampler = ChainSampler(PEDALS, "shuffled", longest)
    return [sampler.sample(generator(0, purpose, k)) for k in range(n)]


def clips(n: int) -> torch.Tensor:
    guitar = signals(RATE, seconds=0.3)["guitar"][:1]
    return torch.from_numpy(
        np.stack([(1 - 0.1 * k) * np.roll(guitar, 501 * k, axis=1) for k in range(n)])
    )


def middle(name: str) -> dict[str, float]:
    if name not in EFFECTS:
        return {"cutoff_hz": 800.0, "resonance": 0.4, "drive": 3.0}
    space = effect(name).space
    return space.from_unit(np.full(len(space), 0.5))


def test_every_pedal_of_the_registry_has_a_twin():
    assert set(EFFECTS) <= set(NAMES)
    for name in NAMES:
        assert twin(name).__name__ == name
    with pytest.raises(KeyError, match="no twin called 'kazoo'; there are gain"):
        twin("kazoo")


def test_a_batch_is_its_items_one_by_one_and_both_are_pedalboard():
    audio, chains = clips(6), [*drawn_chains(5, "batch"), Chain()]
    before = audio.clone()
    together = render_chains(audio, RATE, chains)
    for k, chain in enumerate(chains):
        alone = render_chains(audio[k : k + 1], RATE, [chain])[0]
        torch.testing.assert_close(
            together[k], alone, atol=1e-6, rtol=0
        )  # threads may slice the lanes otherwise
        np.testing.assert_array_equal(
            chain.render(audio[k].numpy(), RATE, backend="torch"), alone.numpy()
        )
        # A distortion of up to 30 dB raises what the phaser's -60 dB bound leaves; measured, the worst is far below.
        assert relative_error_db(chain.render(audio[k].numpy(), RATE), alone) < -50.0, str(chain)
    assert torch.equal(audio, before)
    assert torch.equal(together[5], audio[5])


def test_gradients_reach_the_knobs_of_their_own_item_alone():
    chains = [
        [("distortion", {"drive_db": torch.tensor(12.0 + k, requires_grad=True)})] for k in range(3)
    ]
    render_chains(clips(3), RATE, chains)[1].square().sum().backward()
    slopes = [steps[0][1]["drive_db"].grad.item() for steps in chains]
    assert slopes[0] == slopes[2] == 0.0
    assert slopes[1] > 0.0  # more drive, more energy


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sound_in_half_precision_leaves_the_knobs_alone(dtype):
    steps = [
        ("delay", {"delay_seconds": 0.0123, "feedback": 0.3, "mix": 0.5}),
        ("lowpass", middle("lowpass")),
    ]
    wet = render_chains(clips(2).to(dtype), RATE, [steps, steps])
    assert wet.dtype == dtype
    # The rounding of the sound, three times: a step of bfloat16 is 2^-8. A delay some samples off leaves 0 dB.
    assert relative_error_db(render_chains(clips(2), RATE, [steps, steps]), wet.float()) < -40.0


@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_number_shows_and_stays_where_it_is(name):
    audio = clips(3)
    for knob in middle(name):
        knobs = {key: torch.full((3,), float(value)) for key, value in middle(name).items()}
        knobs[knob][1] = torch.nan
        assert twin(name)(audio, RATE, **knobs).isnan().any(2).flatten().tolist() == [
            False,
            True,
            False,
        ], knob
    audio[1, 0, 100] = torch.nan
    leaf, knobs = (
        audio.requires_grad_(),
        {key: torch.full((3,), float(v)) for key, v in middle(name).items()},
    )
    knobs = {key: value.requires_grad_() for key, value in knobs.items()}
    wet = twin(name)(leaf, RATE, **knobs)
    assert wet.isnan().any(2).flatten().tolist() == [False, True, False]
    assert not wet[1, :, :100].isnan().any()
    wet.square().sum().backward()
    for grad in (leaf.grad, *(value.grad for value in knobs.values())):
        assert grad[[0, 2]].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_rate_is_a_number_of_any_kind(name):
    audio = clips(1)[..., :6000]
    expected = twin(name)(audio, RATE, **middle(name))
    for rate in (float(RATE), np.int64(RATE)):
        torch.testing.assert_close(
            twin(name)(audio, rate, **middle(name)), expected, rtol=0, atol=0
        )
    with pytest.raises(ValueError, match="sample_rate must be positive, got nan Hz"):
        twin(name)(audio, float("nan"), **middle(name))
    with pytest.raises(TypeError, match="audio must be a floating-point tensor, got ndarray"):
        twin(name)(audio.numpy(), RATE, **middle(name))


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
    assert len(launches(orders)) <= 5 * len(
        PEDALS
    )  # positions times pedals, against some 770 pedals one by one


def test_unit_values_become_the_registrys_physical_ones():
    for name in EFFECTS:
        space = effect(name).space
        unit = generator(0, "unit", name).uniform(size=(3, len(space)))
        values = from_unit(space, torch.from_numpy(unit))
        for row in range(3):
            expected = space.from_unit(unit[row])
            for knob, value in values.items():
                assert value[row].item() == pytest.approx(expected[knob], rel=1e-9), (name, knob)
    with pytest.raises(ValueError, match=r"must hold 3 values in its last axis, got \(2, 4\)"):
        from_unit(effect("delay").space, torch.zeros(2, 4))


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="one chain for each of 2 items, got 1"):
        render_chains(clips(2), RATE, [Chain()])
    with pytest.raises(
        ValueError, match=r"knobs must be \['drive_db'\] for every item, got \['volume'\]"
    ):
        stack_knobs([{"drive_db": 8.0}, {"volume": 11.0}], clips(1))
    with pytest.raises(ValueError, match='backend must be "pedalboard" or "torch", got \'jax\''):
        Chain((Step("gain", {"gain_db": 0.0}),)).render(
            np.zeros((1, 8), np.float32), RATE, backend="jax"
        )
    with pytest.raises(ValueError, match="audio is empty"):
        Chain().render(np.zeros((1, 0), np.float32), RATE, backend="torch")


@pytest.mark.parametrize(
    ("chain", "error", "said"),
    [
        ([("gain", {"gain_db": "loud"})], TypeError, "gain_db must be a number"),
        ([("gain", {"gain_db": None})], TypeError, "gain_db must be a number"),
        ([("gain", {"gain_db": 1.0, "gian_db": 1.0})], ValueError, "gain: .*gian_db"),
        ([("delay", {"feedback": 0.5})], ValueError, "delay: .*delay_seconds"),
    ],
)
def test_knobs_that_cannot_be_used_are_named(
    chain: list, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        render_chains(torch.zeros(1, 1, 8), 44_100, [chain])

"""Pedals as other makers might build them: still pedals of their family, and never the same one."""

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step, chain_space
from labkit.effects.variants import render_varied
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars
from labkit.systems.pedal_order.config import SIX, Sound
from labkit.systems.pedal_order.data import render

RATE = 44_100


@pytest.fixture(scope="module")
def guitar() -> np.ndarray:
    audio = GeneratedGuitars(seconds=2.0, sample_rate=RATE).clip(generator(3), "train").audio
    return audio * np.float32(0.1 / audio.std())


def chain_of(name: str, **knobs: float) -> Chain:
    usual = chain_space([name]).from_unit(np.full(chain_space([name]).n_knobs, 0.5)).steps[0].params
    return Chain((Step(name, {**usual, **knobs}),))


@pytest.mark.parametrize("name", SIX)
def test_variants_are_heard_differ_from_each_other_and_keep_a_level_that_can_be_used(name, guitar):
    chain = chain_of(name)
    ours = chain.render(guitar, RATE)
    made = [render_varied(chain, guitar, RATE, generator(k), share=1.0) for k in range(8)]
    for one in made:
        assert one.shape == guitar.shape
        assert one.dtype == np.float32
        assert np.isfinite(one).all()
        assert 0.05 < one.std() / ours.std() < 20
        assert np.abs(one - guitar).max() > 0.01  # it does something
    assert all(np.abs(one - made[0]).max() > 1e-3 for one in [*made[1:], ours])
    again = render_varied(chain, guitar, RATE, generator(0), share=1.0)
    assert np.array_equal(again, made[0])


@pytest.mark.parametrize("name", ["delay", "reverb"])
def test_what_is_linear_in_pedalboard_stays_linear(name, guitar):
    chain = chain_of(name)

    def of(audio: np.ndarray) -> np.ndarray:
        return render_varied(chain, audio, RATE, generator(5), share=1.0)

    other = np.roll(guitar, 3000, axis=1) * np.float32(0.3)
    # The reverb sets its tail by the level of its input, so only a gain is asked of it.
    assert np.allclose(of(2 * guitar), 2 * of(guitar), atol=1e-5)
    if name == "delay":
        assert np.allclose(of(guitar + other), of(guitar) + of(other), atol=1e-5)


def test_a_delay_answers_after_its_time_and_a_distortion_adds_harmonics():
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1.0
    chain = chain_of("delay", delay_seconds=0.25, mix=0.5)
    echo = render_varied(chain, impulse, RATE, generator(1), share=1.0)[0]
    assert np.abs(echo[1:10_000]).max() < 1e-6
    assert np.abs(echo[11_025:11_200]).max() > 0.01
    tone = np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE)[None].astype(np.float32) * 0.1
    for k in range(6):
        driven = render_varied(
            chain_of("distortion", drive_db=30.0), tone, RATE, generator(k), share=1
        )
        spectrum = np.abs(np.fft.rfft(driven[0] * np.hanning(RATE)))
        assert spectrum[3 * 441] > 0.02 * spectrum[441]


def test_no_share_is_the_pedals_themselves(guitar):
    chain = Chain(chain_of("distortion").steps + chain_of("reverb").steps)
    same = render_varied(chain, guitar, RATE, generator(0), share=0.0)
    assert np.allclose(same, chain.render(guitar, RATE), atol=1e-6)


def test_training_examples_pass_other_makers_and_the_codec_only_where_asked():
    clip = GeneratedGuitars(seconds=2.5, sample_rate=RATE).clip(generator(4), "train")
    chain, settings = chain_of("chorus"), {"augment_strength": 0.0, "input_jitter_db": 0.0}
    wet = {}
    for name, share in {
        "plain": {},
        "varied": {"varied_share": 1.0},
        "coded": {"coded_share": 1.0},
    }.items():
        sound = Sound(**settings, **share)
        wet[name] = render(sound, clip, chain, generator(7), training=True).wet
        scored = render(sound, clip, chain, generator(7)).wet
        assert np.array_equal(scored, render(Sound(), clip, chain, generator(7)).wet)
    assert wet["plain"].shape == wet["varied"].shape == wet["coded"].shape
    assert not np.allclose(wet["varied"], wet["plain"], atol=1e-3)
    away = wet["coded"] - wet["plain"]
    assert 0.01 < np.std(away) / np.std(wet["plain"]) < 1.0  # the same sound, a little damaged

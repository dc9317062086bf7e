"""Pedals as other makers might build them: still pedals of their family, and never the same one."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step, chain_space
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars
from labkit.systems.pedal_order.config import SIX

RATE = 44_100
sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))
render_varied = importlib.import_module("variants").render_varied


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
    made = [render_varied(chain, guitar, RATE, generator(k)) for k in range(8)]
    for one in made:
        assert one.shape == guitar.shape
        assert one.dtype == np.float32
        assert np.isfinite(one).all()
        assert 0.05 < one.std() / ours.std() < 20
        assert np.abs(one - guitar).max() > 0.01  # it does something
    assert all(np.abs(one - made[0]).max() > 1e-3 for one in [*made[1:], ours])
    again = render_varied(chain, guitar, RATE, generator(0))
    assert np.array_equal(again, made[0])


@pytest.mark.parametrize("name", ["delay", "reverb"])
def test_what_is_linear_in_pedalboard_stays_linear(name, guitar):
    chain = chain_of(name)

    def of(audio: np.ndarray) -> np.ndarray:
        return render_varied(chain, audio, RATE, generator(5))

    other = np.roll(guitar, 3000, axis=1) * np.float32(0.3)
    # The reverb sets its tail by the level of its input, so only a gain is asked of it.
    assert np.allclose(of(2 * guitar), 2 * of(guitar), atol=1e-5)
    if name == "delay":
        assert np.allclose(of(guitar + other), of(guitar) + of(other), atol=1e-5)


def test_a_delay_answers_after_its_time_and_a_distortion_adds_harmonics():
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1.0
    chain = chain_of("delay", delay_seconds=0.25, mix=0.5)
    echo = render_varied(chain, impulse, RATE, generator(1))[0]
    assert np.abs(echo[1:10_000]).max() < 1e-6
    assert np.abs(echo[11_025:11_200]).max() > 0.01
    tone = np.sin(2 * np.pi * 441 * np.arange(RATE) / RATE)[None].astype(np.float32) * 0.1
    for k in range(6):
        driven = render_varied(chain_of("distortion", drive_db=30.0), tone, RATE, generator(k))
        spectrum = np.abs(np.fft.rfft(driven[0] * np.hanning(RATE)))
        assert spectrum[3 * 441] > 0.02 * spectrum[441]

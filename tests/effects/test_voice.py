"""Our own synthesizer: pitch, waves, filter, envelope, gradients."""

import numpy as np
import pytest
import torch

from labkit.effects.synths.registry import open_synth
from labkit.effects.synths.spec import SAMPLE_RATE, SynthSpec
from labkit.effects.synths.voice import VOICE, Voice, render_voices, voice_values
from labkit.signal.seeds import generator, torch_generator

RATE = 22_050
PLAIN = {
    "osc_1_level": 1.0,
    "osc_1_shape": 0.0,
    "osc_2_level": 0.0,
    "osc_2_shape": 0.0,
    "osc_2_semitones": 0.0,
    "noise_level": 0.0,
    "cutoff_semitones": 130.0,
    "resonance": 0.0,
    "envelope_semitones": 0.0,
    "attack_log2_s": -8.0,
    "decay_log2_s": 0.0,
    "sustain": 1.0,
    "release_log2_s": -6.0,
    "note_pitch": 69.0,
    "note_seconds": 0.8,
}


def play(**changed: float) -> np.ndarray:
    return render_voices(voice_values([PLAIN | changed]), RATE, seconds=1.0)[0, 0].numpy()


def spectrum(audio: np.ndarray) -> np.ndarray:
    return np.abs(np.fft.rfft(audio[2205:13230] * np.hanning(11025)))  # bins of 2 Hz


def test_a_sine_is_its_key() -> None:
    assert spectrum(play()).argmax() == 220
    assert spectrum(play(osc_1_level=0.0, osc_2_level=1.0, osc_2_semitones=12.0)).argmax() == 440


def test_waves_have_their_harmonics() -> None:
    saw, square = (spectrum(play(osc_1_shape=shape))[[220, 440, 660]] for shape in (1.0, 2.0))
    np.testing.assert_allclose(
        saw / saw[0], [1, 1 / 2, 1 / 3], atol=0.01
    )  # the filter, wide open, takes some
    np.testing.assert_allclose(square / square[0], [1, 0, 1 / 3], atol=0.01)


def test_the_filter_halves_twice_an_octave_above() -> None:
    # Two octaves above the cutoff a two-pole low-pass with Q .7 is at 1 / sqrt((1 - 16) ** 2 + 16 / .49) = .062.
    open_, shut = (spectrum(play(cutoff_semitones=c))[220] for c in (130.0, 45.0))
    assert shut / open_ == pytest.approx(0.0623, rel=0.02)


def test_noise_is_filtered_too() -> None:
    noise = spectrum(play(osc_1_level=0.0, noise_level=0.5, cutoff_semitones=69.0))
    assert noise[2200:].mean() < 0.05 * noise[:200].mean()


def test_the_envelope_rises_falls_and_ends() -> None:
    audio = np.abs(play(attack_log2_s=-2.0, decay_log2_s=-3.0, sustain=0.25, note_pitch=84.0))
    level = audio[: RATE // 100 * 100].reshape(100, -1).max(1)  # hundredths of a second
    assert level[12] == pytest.approx(0.5 * level[24], rel=0.1)
    assert level[70] == pytest.approx(0.25 * level[24], rel=0.1)
    assert level[90] < 1e-3 * level[24]


def test_a_batch_is_its_voices() -> None:
    patches = [VOICE.draw(generator(seed, "voice")) | {"noise_level": 0.0} for seed in range(3)]
    values = voice_values(patches)
    together = render_voices(values, RATE, seconds=0.2, rng=torch_generator(0, "p"))
    assert together.shape == (3, 1, 4410)
    assert torch.isfinite(together).all()
    first = render_voices(values[:1], RATE, seconds=0.2, rng=torch_generator(0, "p"))
    torch.testing.assert_close(together[:1], first)


def test_every_knob_has_a_slope() -> None:
    given = PLAIN | {
        "osc_1_shape": 0.5,
        "osc_2_level": 0.5,
        "osc_2_shape": 1.5,
        "noise_level": 0.2,
        "sustain": 0.5,
    }
    given |= {
        "osc_2_semitones": 7.0,
        "cutoff_semitones": 80.0,
        "resonance": 0.3,
        "envelope_semitones": 12.0,
    }
    values = voice_values(
        [given | {"attack_log2_s": -4.0, "decay_log2_s": -2.0, "note_seconds": 0.3}]
    )
    values.requires_grad_(True)
    render_voices(values, RATE, seconds=0.5).square().sum().backward()
    assert torch.isfinite(values.grad).all()
    assert (values.grad.abs() > 0).all()


@pytest.mark.parametrize(
    ("shape", "seconds", "said"), [((1, 3), 1.0, "batch, 15"), ((1, 15), 0.0, "positive")]
)
def test_bad_calls_are_named(shape: tuple[int, int], seconds: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        render_voices(torch.zeros(shape), RATE, seconds=seconds)


def test_a_preset_sounds_as_its_patch_did() -> None:
    values = VOICE.decode(
        VOICE.encode(PLAIN | {"osc_1_shape": 1.0, "noise_level": 0.1, "note_seconds": 0.3})
    )
    with open_synth(VOICE) as synth:
        assert isinstance(synth, Voice)
        sound = synth.render(values, seconds=0.5)
        assert sound.shape == (2, SAMPLE_RATE // 2)
        assert sound.dtype == np.float32
        preset = synth.preset(values, volume_db=-6.0206)
        np.testing.assert_allclose(synth.play(preset, values, seconds=0.5), 0.5 * sound, atol=1e-6)
        np.testing.assert_array_equal(synth.first_note(values, seconds=0.5), sound)
        turned = synth.render(values, seconds=0.5, phases=np.array([0.25, 0.5, 0.75]))
        assert np.abs(turned - sound).max() > 0.01
        with pytest.raises(ValueError, match="not a preset of voice"):
            synth.play("{}", values)
        with pytest.raises(ValueError, match="seconds must be positive"):
            synth.render(values, seconds=0.0)
        with pytest.raises(ValueError, match="cutoff_semitones must lie"):
            synth.render(values | {"cutoff_semitones": 500.0})
    with pytest.raises(ValueError, match="spec must be one of voice"):
        Voice(SynthSpec("mine", VOICE.fields))

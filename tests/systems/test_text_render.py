"""The sound of settings by the twins: as the pedalboard plays it, and with a gradient to every knob."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from labkit.signal.seeds import generator
from labkit.systems.text_to_effects import inputs, render
from labkit.systems.text_to_effects.config import Config
from labkit.systems.text_to_effects.model import Settings, build
from labkit.systems.text_to_effects.preset import BAND, SPACES, Band, Preset
from labkit.systems.text_to_effects.response import START, TYPES
from labkit.systems.text_to_effects.train import sound_loss

RATE = 44100
TINY = Config(width=16, n_heads=2, n_mels=8, n_frames=4, dropout=0.0)


def noise(seconds, items=1, level=0.1):
    rng = generator(0, "noise", items)
    return torch.from_numpy(level * rng.standard_normal((items, 1, round(seconds * RATE)))).float()


def settings_of(preset):
    bands = torch.tensor(
        [[BAND[name].to_unit(band.params[name]) for name in BAND.names] for band in preset.eq]
    )
    kinds = functional.one_hot(
        torch.tensor([TYPES.index(band.type) for band in preset.eq]), len(TYPES)
    )
    units = {
        name: torch.tensor(space.to_unit(getattr(preset, name)))[None].float()
        for name, space in SPACES.items()
    }
    return Settings(bands[None].float(), kinds[None].float(), units)


def test_the_twins_sound_as_the_pedalboard_does():
    preset = Preset(
        (
            Band("highpass", 60.0, 0.0, 0.7),
            Band("bell", 300.0, -4.0, 1.0),
            Band("low_shelf", 900.0, 3.0, 0.7),
            Band("high_shelf", 4000.0, 5.0, 0.7),
            Band("lowpass", 12000.0, 0.0, 0.7),
        ),
        {"semitones": 0.0},
        {"drive_db": 10.0, "colour": 0.5},
        {"threshold_db": -30.0, "ratio": 4.0, "attack_ms": 5.0, "release_ms": 100.0},
        {"room_size": 0.7, "pre_delay_ms": 20.0, "diffusion": 0.5, "damping": 0.4, "wet": 0.3},
    )
    audio = noise(0.5)
    ours = render.rendered(settings_of(preset), audio, RATE)[0].numpy()
    theirs = preset.board(RATE)(audio[0].numpy(), RATE)
    # -60 dB: knobs go through float32 units, and a delay may land on the sample beside
    assert np.square(ours - theirs).mean() < 1e-6 * np.square(theirs).mean()


def test_a_pitch_moves_by_its_semitones_and_the_duration_stays():
    time = torch.arange(RATE) / RATE
    tone = 0.3 * torch.sin(2 * torch.pi * 440 * time)[None, None]
    wet = render.shifted(tone, RATE, semitones=torch.tensor([7.0]))
    assert wet.shape == tone.shape
    inner = wet[0, 0, RATE // 4 : -RATE // 4] * torch.hann_window(RATE // 2)
    heard = torch.fft.rfft(inner).abs().argmax().item() * 2
    assert heard == pytest.approx(
        440 * 2 ** (7 / 12), abs=20
    )  # heads fade at 8 Hz, which puts lines beside the tone
    torch.testing.assert_close(
        render.shifted(tone, RATE, semitones=torch.zeros(1)), tone, atol=1e-6, rtol=0
    )


def test_every_output_of_every_head_gets_a_finite_gradient_through_the_sound():
    model, rng, n = build(TINY), generator(0, "batch"), 3
    with torch.no_grad():
        for head in (
            model.band_heads
        ):  # they begin at zero, which hides the network behind them for one step
            head.weight.normal_(0, 0.1, generator=torch.manual_seed(0))
            head.bias[3:].zero_()  # all types share, so that all are heard
    batch = {
        "pieces": torch.from_numpy(rng.standard_normal((n, inputs.MAX_PIECES, 384))).float(),
        "pieces_mask": torch.ones(n, inputs.MAX_PIECES, dtype=torch.bool),
        "hints": torch.from_numpy(
            rng.standard_normal((n, inputs.MAX_HINTS, inputs.HINT_WIDTH))
        ).float(),
        "hints_mask": torch.ones(n, inputs.MAX_HINTS, dtype=torch.bool),
        "picture": torch.from_numpy(rng.standard_normal((n, TINY.n_frames, TINY.n_mels))).float(),
        "level_db": torch.full((n,), -20.0),
    }
    said = model(batch)
    said.units["compressor"] = said.units["compressor"] * torch.tensor(
        [0.6, 1.0, 1.0, 1.0]
    )  # below the sound's level
    audio = noise(0.4, n, level=0.3)
    render.rendered(said, audio, RATE).square().log1p().mean().backward()
    for name, tensor in model.named_parameters():
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all(), name
        if (
            "in_proj_bias" not in name
        ):  # a bias of keys moves every score alike: softmax takes it out
            assert tensor.grad.abs().max() > 0, name
    for head in (*model.band_heads, *model.effect_heads.values()):
        assert (head.weight.grad.abs().sum(1) > 0).all()  # every single output: knobs and types


def test_the_change_of_the_bands_is_the_curve_of_the_equaliser():
    eq = tuple(
        Band(kind, hz, gain, q)
        for (kind, hz, q), gain in zip(START, (4, -3, 0, 5, -6), strict=True)
    )
    settings, audio = settings_of(Preset(eq)), noise(2.0)
    with torch.no_grad():
        wet = render.equalised(settings, audio, RATE)
    moved, heard = render.band_change_db(audio[:, 0], wet[:, 0], RATE)
    assert heard.all()
    # 0.5 dB: a band is a third of an octave wide, and the curve bends within it; below 60 Hz noise has few bins there
    assert moved[0, 3:].numpy() == pytest.approx(settings.eq_curve_db()[0, 3:].numpy(), abs=0.5)


def test_the_loss_of_the_sound_is_small_for_the_right_curve_alone():
    eq = tuple(
        Band(kind, hz, gain, q)
        for (kind, hz, q), gain in zip(START, (4, -3, 0, 5, -6), strict=True)
    )
    settings, config = settings_of(Preset(eq)), Config()
    curve = settings.eq_curve_db() - settings.eq_curve_db().mean()
    batch = {
        "audio": noise(2.0)[:, 0],
        "curve": curve / config.db_per_unit,
        "curve_weight": torch.ones(1),
    }
    right = sound_loss(settings, batch, config, torch.ones(40))
    wrong = sound_loss(settings, batch | {"curve": -batch["curve"]}, config, torch.ones(40))
    assert right < 0.02 * wrong  # what is left is the width of the bands
    silent = batch | {"audio": torch.zeros(1, RATE)}
    assert torch.isfinite(sound_loss(settings, silent, config, torch.ones(40)))

"""Text to effects without people's settings or weights: presets, grammar, files, network, rules."""

import importlib
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from labkit.effects.chain import Chain, pedalboard_code
from labkit.learn.text import Encoded
from labkit.measure.loudness import loudness_lufs
from labkit.signal.files import write_audio
from labkit.signal.seeds import generator
from labkit.systems import text
from labkit.systems.text import Config, Preset, build
from labkit.systems.text import model as network
from labkit.systems.text.data import TARGETS
from labkit.systems.text.grammar import Item, parse
from labkit.systems.text.lexicon import stem, vocabulary
from labkit.systems.text.predict import render_file, variations
from labkit.systems.text.preset import BAND, BANDS_HZ, START, TYPES, Band, curve_db, response_db
from labkit.systems.text.settings import preset_of, wanted_eq_db
from labkit.systems.text.train import fit_first_guess, loss_of

predict_module = importlib.import_module("labkit.systems.text.predict")
RATE = 44100
TINY = Config().but(width=16, n_heads=2, n_mels=8, n_frames=4, dropout=0.0)


def noise(seconds, channels=1, rate=RATE, level=0.1):
    rng = generator(0, "noise", channels)
    return (level * rng.standard_normal((channels, round(seconds * rate)))).astype(np.float32)


def everything_on():
    return Preset(
        (
            Band("highpass", 60.0, 0.0, 0.7),
            Band("bell", 300.0, -4.0, 1.0),
            Band("bell", 1000.0, 3.0, 2.0),
            Band("high_shelf", 4000.0, 5.0, 0.7),
            Band("lowpass", 12000.0, 0.0, 0.7),
        ),
        {"semitones": -3.0},
        {"drive_db": 10.0, "colour": 0.5},
        {"threshold_db": -30.0, "ratio": 4.0, "attack_ms": 5.0, "release_ms": 100.0},
        {"room_size": 0.7, "pre_delay_ms": 20.0, "diffusion": 0.5, "damping": 0.4, "wet": 0.3},
    )


# The formula of the curve


def test_the_five_bands_follow_the_lexicons_curves():
    """To .15 dB, root mean square over all words that have a tone."""
    missed = []
    for word, meaning in vocabulary().items():
        if meaning.has_tone:
            item = Item(word, meaning)
            played_db = response_db(preset_of([item]).eq, np.array(BANDS_HZ))
            missed.append(played_db - wanted_eq_db([item]))
    assert len(missed) > 300
    assert np.sqrt(np.mean(np.square(missed))) < 0.16


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("hz", "gain_db", "q"), [(300.0, 6.0, 0.7), (9000.0, -9.0, 2.0)])
def test_the_curve_is_what_pedalboard_does_to_an_impulse(kind, hz, gain_db, q):
    impulse = np.zeros((1, 1 << 15), np.float32)
    impulse[0, 0] = 1.0
    eq = (Band(kind, hz, gain_db, q), *Preset().eq[1:])
    wet = Preset(eq).board(RATE)(impulse, RATE)
    power_db = 20 * np.log10(np.abs(np.fft.rfft(wet[0])) + 1e-12)
    # Below 200 Hz, float32 moves the poles of the original.
    at = np.array([hz_ for hz_ in BANDS_HZ if hz_ >= 200])
    measured = np.interp(at, np.fft.rfftfreq(1 << 15, 1 / RATE), power_db)
    # 0.05 dB: interpolation between bins 1.3 Hz apart, and float32
    assert Preset(eq).eq_curve_db()[-len(at) :] == pytest.approx(measured, abs=0.05)


def test_the_curve_has_the_gradient_that_differences_give():
    knobs = [
        torch.tensor([[v]], dtype=torch.float64, requires_grad=True) for v in (700.0, 5.0, 0.9)
    ]
    shares = torch.tensor([[[0.3, 0.4, 0.1, 0.1, 0.1]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda *k: curve_db(*k, shares), knobs)


# Presets


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: d.update(version=2),
        lambda d: d.pop("reverb"),
        lambda d: d["eq"].pop(),
        lambda d: d["eq"][0].update(type="notch"),
        lambda d: d["eq"][0].update(frequency_hz=5.0),
        lambda d: d["pitch"].update(semitones=99),
        lambda d: d["pitch"].update(semitones=10**400),
        lambda d: d["distortion"].update(extra=1),
        lambda d: d.update(flanger={"mix": 0.5}),
        lambda d: d.update(gain={"gain_db": 99}),
        lambda d: d["compressor"].update(ratio="4:1"),
    ],
)
def test_a_spoilt_preset_is_refused(spoil):
    content = json.loads(everything_on().to_json())
    spoil(content)
    with pytest.raises(ValueError, match="a preset of version 1 was expected"):
        Preset.from_json(json.dumps(content))


def test_the_printed_code_builds_the_same_board_to_the_last_bit():
    pedals = text.predict(
        None, noise(0.5), RATE, "slow phaser, chorus, slapback, -3 dB"
    ).preset.pedals
    audio, preset = noise(0.5, 2), replace(everything_on(), pedals=pedals)
    assert Preset.from_json(preset.to_json()) == preset
    # The chain plays the same but for the pitch, the pre-delay and the echoes.
    plain = dict(preset.reverb, pre_delay_ms=0.0, diffusion=1.0)
    plain = replace(preset, pitch={"semitones": 0.0}, reverb=plain)
    chain = plain.chain(RATE)
    assert Chain.from_json(chain.to_json()) == chain  # knobs beyond the ranges of a search, too
    assert chain.names[-5:] == ("phaser", "chorus", "delay", "reverb", "gain")
    np.testing.assert_allclose(chain.render(audio, RATE), plain.board(RATE)(audio, RATE), atol=1e-6)
    scope = {}
    exec(pedalboard_code(preset.plugins(RATE)), scope)
    assert np.array_equal(scope["board"](audio, RATE), preset.board(RATE)(audio, RATE))


def test_where_pedalboard_lacks_a_pedal_the_code_lets_labkit_play_it(tmp_path, monkeypatch):
    write_audio(tmp_path / "dry.wav", noise(0.5), RATE)
    given = tmp_path / "dry.wav", "slow tremolo"
    found, _ = text.process_file(None, *given, out=tmp_path / "o")
    monkeypatch.chdir(tmp_path / "o")
    scope, (code,) = {}, (tmp_path / "o").glob("*.board.py")
    exec(code.read_text(), scope)
    assert "pedalboard has no tremolo; labkit plays it" in code.read_text()
    wet = found.preset.board(RATE)(noise(0.5), RATE)
    assert np.array_equal(scope["board"](noise(0.5), RATE), wet)
    assert not np.array_equal(wet, replace(found.preset, pedals={}).board(RATE)(noise(0.5), RATE))


def test_a_vibrato_of_earlier_presets_is_read():
    preset = replace(Preset(), pedals={"vibrato": {"rate_hz": 5.0, "depth": 0.1}})
    content = json.loads(preset.to_json())
    content["vibrato"] |= {"centre_delay_ms": 7.0, "feedback": 0.0, "mix": 1.0}
    assert Preset.from_json(json.dumps(content)) == preset


def test_a_neutral_preset_has_no_plug_in_and_strength_0_makes_one():
    assert Preset().plugins(RATE) == []
    names = [name for name, _ in everything_on().plugins(RATE)]
    # The compressor gets the level of the recording, and the room comes last.
    assert names.index("Compressor") < names.index("Distortion") < names.index("Mix")
    pedals = "crush it to 4 bits, gate, limiter at -20 dB, chorus, -3 dB, low-pass at 2 kHz"
    for start in (None, everything_on()):
        found = text.predict(None, noise(0.5), RATE, pedals, current=start, strength=0.0)
        assert found.preset == Preset()


def test_strength_counts_in_decibels_and_in_the_logarithm_of_a_ratio():
    gate = {"threshold_db": -40.0, "ratio": 4.0, "attack_ms": 5.0, "release_ms": 100.0}
    whole = replace(everything_on(), pedals={"noise_gate": gate, "bitcrush": {"bit_depth": 4.0}})
    half, twice = (whole.scaled(strength) for strength in (0.5, 2.0))
    assert half.pedals == {"noise_gate": gate | {"ratio": 2.0}, "bitcrush": {"bit_depth": 10.0}}
    ratios = (half.compressor["ratio"], twice.compressor["ratio"])
    assert ratios == (pytest.approx(2.0), pytest.approx(16.0))
    assert (half.eq[1].gain_db, twice.eq[1].gain_db) == (-2.0, -8.0)
    assert (half.reverb["wet"], twice.reverb["wet"]) == (pytest.approx(0.15), pytest.approx(0.6))
    assert (half.pitch["semitones"], twice.pitch["semitones"]) == (-1.5, -6.0)
    assert (half.distortion["drive_db"], half.distortion["colour"]) == (5.0, 0.5)
    # half of the way to where it does nothing
    assert half.eq[4].frequency_hz == pytest.approx((12000 * 18000) ** 0.5)


def test_bands_above_what_the_rate_holds_are_left_out():
    eq = (*Preset().eq[:4], Band("high_shelf", 16000.0, 6.0, 0.7))
    assert Preset(eq).plugins(8000) == []
    assert len(Preset(eq).plugins(RATE)) == 1


def test_pre_delay_room_and_wet_are_heard_where_they_should_be():
    impulse = np.zeros((1, RATE), np.float32)
    impulse[0, 0] = 1.0
    reverb = {"room_size": 0.8, "pre_delay_ms": 80.0, "diffusion": 1.0, "damping": 0.3, "wet": 0.4}
    wet = Preset(reverb=reverb).board(RATE)(impulse, RATE)[0]
    assert wet[0] == pytest.approx(0.6, abs=1e-3)  # the dry share
    assert np.abs(wet[1 : round(0.08 * RATE)]).max() < 1e-6
    assert np.abs(wet[round(0.08 * RATE) : round(0.2 * RATE)]).max() > 1e-4


# Streams


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_file_in_blocks_sounds_as_the_whole_and_a_stereo_pair_shares_a_room(
    channels, tmp_path, monkeypatch
):
    audio = noise(0.5, channels, level=0.01)
    audio[1:] = 0.0
    preset = everything_on()
    soundfile.write(tmp_path / "a.wav", audio.T, RATE, subtype="FLOAT")
    monkeypatch.setattr(predict_module, "_BLOCK", 3001)
    done = render_file(preset, tmp_path / "a.wav", tmp_path / "b.wav")
    wet, _ = soundfile.read(done.path, always_2d=True)
    groups = [audio] if channels == 2 else [channel[None] for channel in audio]
    whole = np.concatenate([preset.board(RATE)(group, RATE) for group in groups])
    # a step of 24 bits
    assert pytest.approx(10 ** (done.shift_db / 20) * whole, abs=2e-7) == wet.T
    assert (np.abs(wet[:, 1:]).max(initial=0) > 1e-4) == (channels == 2)


def test_a_shifted_pitch_keeps_every_second(tmp_path):
    time = np.arange(10 * RATE) / RATE
    plucks = 0.5 * np.sin(2 * np.pi * 440 * time) * np.exp(-4 * (time % 1))
    soundfile.write(tmp_path / "a.wav", plucks, RATE)
    octave = Preset(pitch={"semitones": 12.0})
    wet, _ = soundfile.read(render_file(octave, tmp_path / "a.wav", tmp_path / "b.wav").path)
    assert len(wet) == 10 * RATE
    dry_rms, wet_rms = (sound.reshape(10, -1).std(1) for sound in (plucks, wet))
    assert np.abs(20 * np.log10(wet_rms / dry_rms)).max() < 3
    spectrum = np.abs(np.fft.rfft(wet[:RATE]))
    # an octave up, within a fifth of a semitone
    assert spectrum.argmax() == pytest.approx(880, abs=10)


@pytest.mark.parametrize(
    ("rate", "audio"),
    [
        (8000, noise(1.5, 1, 8000)),
        (96000, noise(1.0, 2, 96000)),
        (RATE, np.zeros((1, 4000), np.float32)),
        (RATE, noise(0.01)),
    ],
)
def test_rate_channels_and_length_stay_of_silence_and_of_a_blink_too(tmp_path, rate, audio):
    soundfile.write(tmp_path / "a.flac", audio.T, rate)
    done = render_file(everything_on(), tmp_path / "a.flac", tmp_path / "b.wav")
    wet, wet_rate = soundfile.read(done.path, always_2d=True)
    assert (wet_rate, wet.T.shape) == (rate, audio.shape)
    assert np.abs(wet).max() <= 1.0


def test_what_a_peak_leaves_room_for_is_as_loud_as_it_was(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.5, 2, level=0.02).T, RATE, subtype="FLOAT")
    done = render_file(everything_on(), tmp_path / "a.wav", tmp_path / "b.wav")
    wet, _ = soundfile.read(done.path, always_2d=True)
    # what players here promise
    assert loudness_lufs(wet.T, RATE) == pytest.approx(done.dry_lufs, abs=0.1)
    assert abs(done.shift_db) > 3
    spiky = noise(1.5, level=0.3)
    spiky[0, 3000] = 1.0
    soundfile.write(tmp_path / "a.wav", spiky.T, RATE, subtype="FLOAT")
    cut = Preset(eq=(*Preset().eq[:4], Band("high_shelf", 2000.0, -12.0, 0.7)))
    done = render_file(cut, tmp_path / "a.wav", tmp_path / "b.wav")
    wet, _ = soundfile.read(done.path)
    # softer than it was, with the peak at -0.1 dB: 24 bits, and nothing clipped
    assert loudness_lufs(wet[None], RATE) < done.dry_lufs - 1
    assert 20 * np.log10(np.abs(wet).max()) == pytest.approx(-0.1, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: Preset().scaled(3), r"strength must lie in \[0, 2\], got 3"),
        (lambda _: Band("notch", 100.0, 0.0, 1.0), "type must be one of low_shelf"),
        (lambda _: parse("123 !"), "prompt must hold words, got '123 !'"),
        (lambda _: parse(""), "prompt must hold words, got ''"),
        (lambda _: variations(Preset(), 17), r"n must lie in 1\.\.16, got 17"),
        (lambda _: Config().but(sentences="bert"), "sentences must be one of minilm, mpnet"),
        (lambda path: text.process_file(None, path, "warm", seconds=-1), "seconds must be above"),
        (lambda _: text.check_request(float("inf"), 1), "seconds must be above 0, got inf"),
        (lambda path: render_file(Preset(), __file__, path), "audio expected"),
    ],
)
def test_a_wrong_argument_is_named_and_no_file_is_left(call, message, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, noise(0.2, 7).T, RATE)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        call(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert path.read_bytes() == before


def test_a_file_through_a_sentence_leaves_a_folder_that_loads_back(tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(1.0, 2).T, RATE)
    prompt = "Dark & distorted, in a cathedral"
    found, written = text.process_file(None, tmp_path / "a.wav", prompt, out=tmp_path / "out", n=3)
    assert Preset.load(written[0].path.with_suffix(".preset.json")) == found.preset
    assert len({one.preset.to_json() for one in written}) == 3
    assert len(list((tmp_path / "out").iterdir())) == 3 * 4 + 1
    exec(written[2].path.with_suffix(".board.py").read_text(), {})
    told = (tmp_path / "out" / "dark_distorted_in_a_cathedral.summary.txt").read_text()
    assert "understood  dark: dark +1.0\nunderstood  distorted: distorted +1.0\n" in told
    assert "answered by lexicon\n" in told


def test_candidates_keep_the_pitch_and_what_is_off():
    for one in variations(replace(everything_on(), reverb=Preset().reverb), 4, seed=1)[1:]:
        assert one.pitch["semitones"] == pytest.approx(-3.0)
        assert one.reverb["wet"] == 0
        assert one.distortion != everything_on().distortion


# The network


def batch_of(n, seed=0):
    rng = generator(seed, "batch")

    def random(*shape):
        return torch.from_numpy(rng.standard_normal(shape)).float()

    return {
        "pieces": random(n, network.MAX_PIECES, 384),
        "pieces_mask": torch.arange(network.MAX_PIECES).expand(n, -1) < 5,
        "hints": random(n, network.MAX_HINTS, network.HINT_WIDTH),
        "hints_mask": torch.arange(network.MAX_HINTS).expand(n, -1) < 2,
        "log_mel": random(n, TINY.sound.n_frames, TINY.sound.n_mels),
        "level_db": torch.linspace(-40, -10, n),
    }


def one_of(n):
    return {name: column[:1] for name, column in batch_of(n).items()}


@pytest.fixture
def one_vector(monkeypatch):
    """Every prompt gets the same vectors."""
    monkeypatch.setattr(predict_module, "encode_prompts", lambda *_: one_of(2))


def test_every_head_and_every_part_gets_a_finite_gradient_that_is_not_zero():
    model = build(TINY)
    with torch.no_grad():  # heads begin at zero, which hides the network behind them for one step
        for head in model.band_heads:
            head.weight.normal_(0, 0.1, generator=torch.manual_seed(0))
    batch = batch_of(6)
    for name, size in TARGETS.items():
        batch |= {name: torch.full((6, size), 0.9), f"{name}_weight": torch.ones(6)}
    loss, _ = loss_of(torch.ones(40))(model, batch)
    loss.backward()
    for name, tensor in model.named_parameters():
        assert tensor.grad is not None, name
        assert torch.isfinite(tensor.grad).all(), name
        # A bias of keys moves every score alike: softmax takes it out.
        if "in_proj_bias" not in name:
            assert tensor.grad.abs().max() > 0, name
    for head in (*model.band_heads, *model.effect_heads.values()):
        assert (head.weight.grad.abs().sum(1) > 0).all()  # every single output: knobs and types


def test_what_lies_behind_a_mask_changes_nothing():
    model, batch = build(TINY).eval(), batch_of(3)
    other = dict(batch, pieces=batch["pieces"].clone(), hints=batch["hints"].clone())
    other["pieces"][:, 5:] = 100.0
    other["hints"][:, 2:] = -100.0
    for a, b in zip(model(batch).units.values(), model(other).units.values(), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(model(batch).eq_curve_db(), model(other).eq_curve_db())


def test_a_fresh_model_does_nothing_to_the_equaliser_and_says_legal_presets():
    said = build(TINY).eval()(batch_of(3))
    assert said.hard().eq_curve_db().abs().max() < 1e-3
    for row in range(3):
        preset = said.preset(row)
        assert [band.type for band in preset.eq] == [kind for kind, _, _ in START]
        assert {k for band in preset.eq for k in band.params} == set(BAND.names)


def test_a_pass_needs_half_of_the_share_and_any_other_type_only_the_most():
    said = build(TINY).eval()(batch_of(1))
    shares = torch.tensor(
        [[0.3, 0.1, 0.1, 0.4, 0.1], [0.1, 0.1, 0.1, 0.6, 0.1], [0.2, 0.2, 0.3, 0.2, 0.1]]
    )
    shares = torch.cat([shares, shares[:2]])[None].requires_grad_()
    for settings in (
        said._replace(type_shares=shares).hard(),
        said._replace(type_shares=shares).straight_through(),
    ):
        assert settings.type_shares.argmax(-1).tolist() == [[0, 3, 2, 0, 3]]
        torch.testing.assert_close(settings.type_shares.amax(-1), torch.ones(1, 5))
    weights = torch.arange(25.0).view(1, 5, 5)
    (settings.type_shares * weights).sum().backward()
    torch.testing.assert_close(shares.grad, weights)  # straight: gradients reach the mixture


def test_the_first_guess_learns_a_smooth_rule_and_nothing_from_shuffled_text():
    n, rng = 240, generator(0, "rule")
    asked = rng.normal(0, 1, (n, 6))
    gains = asked[:, :5] * [3, 1, 0, -1, 2]
    knobs = [
        torch.tensor(column).double().expand(n, 5) for column in list(zip(*START, strict=True))[1:]
    ]
    types = torch.eye(len(TYPES)).double()[[TYPES.index(kind) for kind, _, _ in START]]
    hints = torch.zeros(n, network.MAX_HINTS, network.HINT_WIDTH)
    hints[:, 0, :6] = torch.from_numpy(asked).float()
    table = {
        "hints": hints,
        "hints_mask": torch.tensor([[True, False, False, False]]).expand(n, -1),
        "curve": curve_db(knobs[0], torch.from_numpy(gains), knobs[1], types).float() / 6.0,
        "curve_weight": torch.ones(n),
        "reverb": torch.zeros(n, 5),
        "reverb_weight": torch.zeros(n),
    }

    def error(told):
        model = build(TINY)
        fit_first_guess(model, {name: column[:200] for name, column in told.items()})
        said = model.guess_db(table).detach().numpy()[200:]
        return np.abs(said - gains[200:]).mean()

    floor = np.abs(gains[200:] - gains[:200].mean(0)).mean()
    mixed = dict(table, curve=table["curve"][torch.from_numpy(rng.permutation(n))])
    assert error(table) < 0.6 * floor
    assert error(mixed) > 0.9 * floor


def test_a_picture_does_not_depend_on_the_level_and_the_level_is_told():
    audio = noise(3.0)
    seen, level_db = network.spectrogram(audio, TINY.sound)
    softer, softer_db = network.spectrogram(0.1 * audio, TINY.sound)
    assert seen.shape == (TINY.sound.n_frames, TINY.sound.n_mels)
    # 0.01 of 20 dB: bands at the floor of -100 dB do not move
    torch.testing.assert_close(seen, softer, atol=0.01, rtol=0)
    assert level_db - softer_db == pytest.approx(20.0, abs=0.01)
    # The loudest stretch is taken.
    longer = np.concatenate([0.01 * audio, audio[:, : 2 * RATE], 0.01 * audio], axis=1)
    assert network.spectrogram(longer, TINY.sound)[1] == pytest.approx(level_db, abs=0.05)
    silent, silent_db = network.spectrogram(np.zeros((1, 100), np.float32), TINY.sound)
    assert torch.isfinite(silent).all()
    assert silent_db == -80.0


@pytest.mark.usefixtures("one_vector")
def test_the_network_corrects_words_that_many_people_set_and_nothing_else():
    model = build(TINY.but(taught=(stem("warm"), stem("dark")), trusted=(stem("warm"),))).eval()
    with torch.no_grad():
        model.band_heads[2].bias[1] = 3.0  # the network's own opinion
    audio = noise(0.5)

    def answered(prompt):
        found = text.predict(model, audio, RATE, prompt)
        change = found.preset.eq_curve_db() - preset_of(found.items).eq_curve_db()
        return found.by, np.abs(change).max()

    for prompt, by in (("warm", "network"), ("dark", "lexicon"), ("warm and dark", "lexicon")):
        assert answered(prompt)[0] == by
        assert (answered(prompt)[1] > 0.5) == (by == "network")
    # Neither filler nor an unknown sentence reaches the network.
    please = text.predict(model, audio, RATE, "Could you PLEASE make it warm? 🙏")
    assert please.preset == text.predict(model, audio, RATE, "warm").preset
    assert answered("frizzante") == ("lexicon", 0)
    # What a preset does not have is named, and nothing is guessed for it.
    for prompt, said in (("wah", "wah"), ("hazlo más brillante", "English")):
        found = text.predict(model, audio, RATE, prompt)
        assert found.preset == Preset()
        assert said in text.summary(prompt, found, [])


def test_sentences_can_be_read_by_mpnet(monkeypatch):
    def encode(texts):
        tokens = torch.stack([torch.full((3, 768), len(words) / 10) for words in texts])
        mask = torch.ones(len(texts), 3, dtype=torch.bool)
        return Encoded(tokens, mask, torch.nn.functional.normalize(tokens[:, 0], dim=-1))

    monkeypatch.setattr(network.encoders, "mpnet", lambda: encode)
    network._lexicon_vectors.cache_clear()
    model = build(TINY.but(sentences="mpnet")).eval()
    batch = network.encode_prompts(["warm", "a sound from nowhere"], "mpnet")
    assert batch["pieces"].shape == (2, 16, 768)
    assert batch["pieces_mask"].sum(1).tolist() == [3, 3]
    assert text.predict(model, noise(0.5), RATE, "a sound from nowhere").preset
    network._lexicon_vectors.cache_clear()


def test_no_reverb_acts_on_the_present_settings_and_not_thin_moves_what_was_named():
    audio = noise(0.5)
    dry = text.predict(None, audio, RATE, "no reverb", current=everything_on()).preset
    assert dry == replace(everything_on(), reverb=everything_on().reverb | {"wet": 0.0})
    less = text.predict(None, audio, RATE, "a bit less reverb", current=everything_on()).preset
    assert 0 < less.reverb["wet"] < 0.3
    assert (less.eq, less.distortion) == (everything_on().eq, everything_on().distortion)
    bright, kept = (
        text.predict(None, audio, RATE, p).preset for p in ("bright", "bright but not thin")
    )
    assert 0 < kept.tilt_db < bright.tilt_db

"""Wrong arguments of this room are named, with what was expected and what was given."""

import numpy as np
import pytest
import torch

from labkit.effects.chain import Chain, ChainSampler, Step, chain_space, count_orders
from labkit.effects.parameters import Parameter, ParameterSpace
from labkit.effects.saturation import TapeSaturationProcessor, saturate
from labkit.effects.synths import kosc
from labkit.effects.synths.spec import Choice, Knob, SynthSpec

SILENCE = np.zeros((1, 5), np.float32)
NAN = SILENCE + np.float32(np.nan)
DRIVE = Step("distortion", {"drive_db": 20.0})
LIMITER = Step("limiter", {"threshold_db": -20.0, "release_ms": 100.0})
FUZZ = '[{"effect": "fuzz", "params": {}}]'
NAN_DB = '[{"effect": "gain", "params": {"gain_db": NaN}}]'
THREE = ("chorus", "distortion", "reverb")
KNOB = Parameter("drive_db", "dB", 10.0, 30.0)
CUTOFF = Parameter("cutoff_hz", "Hz", 100.0, 10_000.0, "log")
SPACE = ParameterSpace((KNOB, CUTOFF))
SET = SynthSpec(
    "small", (Knob("level", 0.5, 1.0, steps=2), Choice("kind", ("off", "on"), (0.5, 0.5)))
)
TAPE, TWO = TapeSaturationProcessor(), torch.zeros(2, 1, 8)

CASES = [
    (lambda: Chain().render(SILENCE[None], 8000), r"\(channels, samples\) .*\(1, 1, 5\)"),
    (lambda: Chain((DRIVE,)).render(NAN, 8000), "got 5 NaN or infinite of 5"),
    (lambda: Chain().render(SILENCE, 0), "a whole number of Hz from 2000"),
    (lambda: Chain.from_json(FUZZ), "no effect called 'fuzz'; there are compressor, distortion"),
    (lambda: Chain.from_json(NAN_DB), r"gain_db must lie in .* got nan"),
    (lambda: Step("distortion", {"drive_db": 31}), r"drive_db must lie in \[8, 30\] dB, got 31"),
    (lambda: Chain((LIMITER,)).input_referred(1.0), "limiter has no knob that makes up for"),
    (lambda: count_orders(["gain", "gain"]), r"names must be distinct, got \['gain', 'gain'\]"),
    (lambda: count_orders(["fuzz"]), "no effect called 'fuzz'"),
    (lambda: ChainSampler(()), r"pedals must be distinct and not empty, got \(\)"),
    (lambda: ChainSampler(("gain",), "uniform"), "prior must be one of .*'shuffled'.*'uniform'"),
    (lambda: ChainSampler(THREE, "subsets", 4), r"max_length must lie in 1\.\.3, got 4"),
    (lambda: ChainSampler((*THREE, "wah")), "no effect called 'wah'"),
    (lambda: KNOB.check(30.001), r"drive_db must lie in \[10, 30\] dB, got 30"),
    (lambda: KNOB.to_unit(float("nan")), r"must lie in \[10, 30\] dB, got nan"),
    (lambda: CUTOFF.from_unit(1.01), r"cutoff_hz: a unit value lies in \[0, 1\], got"),
    (lambda: Parameter("x", "", 1.0, 1.0), "x: low must be below high, got 1.0"),
    (lambda: Parameter("x", "", 0.0, 1.0, "log"), "a log scale needs low > 0"),
    (lambda: ParameterSpace((KNOB, KNOB)), "parameter names must be unique"),
    (lambda: SPACE.check({"drive_db": 20.0}), r"\], got \['drive_db'\]"),
    (lambda: SPACE.from_unit(np.zeros(3)), "must hold 2 values, got 3"),
    (lambda: chain_space(THREE).from_unit(np.zeros(8)), "must hold 9 values, got 8"),
    (lambda: chain_space(THREE).from_unit(np.zeros(12)), "must hold 9 values, got 12"),
    (lambda: SPACE["gain_db"], r"no parameter 'gain_db'; there are \('drive_db'"),
    (lambda: SET.encode({"level": 1.0}), "kind"),
    (lambda: SET.encode({"level": 1.0, "kind": "loud"}), "one of off, on"),
    (lambda: SET.encode({"level": 3.0, "kind": "on"}), "level must lie in"),
    (lambda: SET.decode(np.zeros(2)), "finite numbers"),
    (lambda: saturate(SILENCE, 2.0, curve="fuzz"), "curve must be one of tanh, .*, got 'fuzz'"),
    (lambda: saturate(SILENCE, 11.0), r"depth must lie in \[1, 10\], got 11"),
    (lambda: saturate(NAN, 2.0), "audio must be finite"),
    (lambda: TAPE(TWO, torch.zeros(2), "hysteresis"), "got 'hysteresis': it has no gradient"),
    (lambda: TAPE(TWO, torch.zeros(3)), "with a depth and a curve for each item"),
    (lambda: kosc.render(torch.zeros(1, 2, 4)), "params_unit must"),
    (lambda: kosc.render(torch.full((1, 1, 3), 1.1)), "params_unit must"),
    (lambda: kosc.render(torch.full((1, 1, 3), torch.nan)), "params_unit must"),
    (lambda: kosc.render(torch.zeros(1, 1, 3), sample_rate=8000), "must be at least 16000"),
]


@pytest.mark.parametrize(("call", "message"), CASES)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises((ValueError, KeyError), match=message):
        call()

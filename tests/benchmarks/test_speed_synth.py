"""Notes of Vital a second, with their features, in one process; two cores give about twice as many."""

import itertools

import pytest

from labkit.effects.synths.registry import Synth
from labkit.effects.synths.vital import SIMPLE
from labkit.signal.seeds import generator
from labkit.systems.synth.model import note_features

pytest.importorskip("vita", reason="the package vita is not installed")


def test_speed_of_two_second_notes(benchmark) -> None:
    patches = itertools.cycle([SIMPLE.draw(generator(seed, "speed")) for seed in range(40)])
    with Synth(SIMPLE) as synth:
        synth.render(next(patches), seconds=2.0)

        def one() -> None:
            audio = synth.render(next(patches), seconds=2.0)
            if abs(audio).max() > 0.05:  # quieter ones have no loudness
                note_features(audio)

        benchmark.pedantic(one, rounds=40, iterations=1, warmup_rounds=5)
    benchmark.extra_info["notes_a_second"] = 1 / benchmark.stats.stats.mean
    print(f"{1 / benchmark.stats.stats.mean:.1f} notes of two seconds a second in one process")

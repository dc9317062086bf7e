"""Wrong arguments of this room are named, with what was expected and what was given."""

import numpy as np
import pytest
import torch

from labkit.learn import encoders, fit, flow, gradients, minimise, transformer
from labkit.learn.training import Plan
from labkit.signal.seeds import generator, torch_generator

DRY = np.sin(np.arange(2000, dtype=np.float32))[None]
RATE = 44_100
LINE = torch.zeros(1, 2)


def box(process=lambda audio, _: audio, *, items=2, params=0.5):
    audio, params_unit = torch.zeros(items, 1, 4), torch.full((2, 2), params)
    return gradients.black_box(process, audio, params_unit, gradients.SPSA(), generator(0))


def flow_loss(target):
    return flow.flow_loss(lambda x, *_: x, target, None, torch_generator(0))


def fit_chain(dry=DRY, names=("gain",)):
    return fit.fit_chain(dry, DRY, RATE, names)


def search(**options):
    rng = generator(0)
    return minimise.minimise(lambda x: x.sum(1), np.zeros(2), rng=rng, **options)


CASES = [
    (lambda: gradients.SPSA(eps=0.0), r"eps must lie in \(0, 0.5\]"),
    (lambda: gradients.GaussianSmoothing(sigma=0.6), "sigma must lie"),
    (lambda: gradients.SPSA(pairs=0), "draws must be at least 1, got 0"),
    (lambda: box(items=3), r"got \(3, 1, 4\)"),
    (lambda: box(params=1.5), "end the network in"),
    (lambda: box(lambda audio, _: audio * np.nan), "must return finite numbers"),
    (lambda: box(lambda audio, _: audio[:1]), "one row for each of 2 items"),
    (lambda: transformer.Attention(10, 4), "width must be a multiple of n_heads, got 10 and 4"),
    (lambda: transformer.Attention(8, 4, n_key_heads=3), "n_key_heads must divide n_heads, got 3"),
    (lambda: transformer.attention("fast", 8, 4), "kind must be one of multi_head, .*, got 'fast'"),
    (lambda: encoders.ConvStem(40, 8, (2,) * 5), "n_mels must be a multiple of 32, got 40"),
    (lambda: encoders.ConvStem(32, 8, (2, 2)), "channels must hold five numbers"),
    (lambda: fit_chain(DRY[:, :100]), r"one shape, got \(1, 100\) and \(1, 2000\)"),
    (lambda: fit_chain(names=("kazoo",)), "no effect called 'kazoo'"),
    (lambda: fit.fit_chain_cma(DRY, DRY, RATE, ("gain",), renders=0), "evaluations must be"),
    (lambda: search(method="adam", evaluations=1), "gradient, spsa or cma, got 'adam'"),
    (lambda: search(evaluations=0), "evaluations must be at least 1, got 0"),
    (lambda: flow.integrate(lambda x, _: x, LINE, steps=3, solver="heun"), "solver must be one"),
    (lambda: flow_loss(torch.zeros(4)), r"target must be \(batch, values\)"),
    (lambda: Plan(1, 8, 0.1, n_devices=3), "n_devices must divide batch_size 8, got 3"),
]


@pytest.mark.parametrize(("call", "words"), CASES)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises((ValueError, KeyError), match=words):
        call()

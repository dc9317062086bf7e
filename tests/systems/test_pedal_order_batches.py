"""Training examples rendered by the batch, as on a GPU: the labels of the others, and their sound within parity."""

import pytest
import torch
from torch.utils.data import default_collate

from labkit.measure.parity import relative_error_db
from labkit.signal.pool import build_pool
from labkit.signal.seeds import generator
from labkit.signal.sources import GeneratedGuitars
from labkit.systems import pedal_order
from labkit.systems.pedal_order.config import PROTOCOLS
from labkit.systems.pedal_order.data import (
    DryExamples,
    Examples,
    read,
    render,
    rendered,
    wets,
    written,
)
from labkit.systems.pedal_order.train import rendering, sequence_loss

SEED = 3
SMALL = pedal_order.Config(
    seconds=0.5,
    preroll_seconds=0.25,
    n_mels=32,
    width=32,
    n_heads=2,
    encoder_layers=1,
    decoder_layers=1,
    channels=(4, 4, 8, 8, 12),
    n_examples=10,
    steps=4,
    batch_size=4,
    n_workers=0,
)
# Beyond one round of examples, whose order then changes.
INDICES = range(4, 16)


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> Examples:
    path = tmp_path_factory.mktemp("pool") / "dry.npy"
    source = GeneratedGuitars(seconds=0.75, sample_rate=SMALL.sample_rate)
    return Examples(SMALL, [build_pool(path, source, "train", 4, 0)], SEED)


@pytest.fixture
def batch(examples, device) -> dict[str, torch.Tensor]:
    dry = DryExamples(examples)
    return {
        name: value.to(device) for name, value in default_collate([dry[i] for i in INDICES]).items()
    }


def test_labels_are_the_same_and_pictures_close(examples, batch) -> None:
    found = {name: value.cpu() for name, value in rendered(SMALL, batch, SEED).items()}
    expected = default_collate([examples[i] for i in INDICES])
    assert expected.keys() == found.keys()
    for name in ("tokens", "shelf", "place"):
        assert torch.equal(found[name], expected[name])
    # float16 keeps 1/512 at the pictures' values of up to 4; quiet bands hear more of what parity leaves.
    assert (found["picture"] - expected["picture"]).abs().mean() < 0.002
    assert (found["picture"] - expected["picture"]).abs().max() < 0.1


def test_the_sound_is_pedalboards(examples, batch) -> None:
    found = wets(SMALL, batch).cpu()
    for wet, index in zip(found, INDICES, strict=True):
        draw = examples._drawn(index)
        given = {"training": True, "chain": draw.chain, "shift_db": draw.shift_db}
        expected = render(SMALL, draw.pool.clip(draw.clip), draw.protocol, draw.rng, **given).wet
        assert relative_error_db(expected, wet[None]) < -60.0, str(draw.chain)


def test_the_loss_of_dry_batches_is_that_of_the_examples(examples, batch, device) -> None:
    model, loss = pedal_order.build(SMALL).eval().to(device), sequence_loss(SMALL)
    expected = default_collate([examples[i] for i in INDICES])
    value, figures = rendering(SMALL, loss)(model, batch)
    value_there, figures_there = loss(
        model, {name: tensor.to(device) for name, tensor in expected.items()}
    )
    assert value.item() == pytest.approx(value_there.item(), rel=1e-3)
    assert figures == pytest.approx(figures_there, rel=1e-3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chains_come_back_from_their_numbers(protocol) -> None:
    chains = [PROTOCOLS[protocol].draw(generator(0, "written", k)) for k in range(20)]
    assert {len(chain) for chain in chains} >= {1, 2, 3}
    for chain in chains:
        names, knobs = (
            [name for name, _ in read(written(chain))],
            [knobs for _, knobs in read(written(chain))],
        )
        assert tuple(names) == chain.names
        for found, step in zip(knobs, chain.steps, strict=True):
            assert found == pytest.approx(dict(step.params), rel=1e-7)  # of float32

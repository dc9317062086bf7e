"""k oscillators: sounds, map, equivariance, learning, score; what a regression cannot do."""

import numpy as np
import torch

from labkit.effects.synths.kosc import render
from labkit.signal.seeds import torch_generator
from labkit.systems.synth import SYSTEM, build
from labkit.systems.synth.kosc import N_MAP, log_spectral_distance, true_map

TINY = SYSTEM.presets["kosc"].but(
    n_oscillators=3, hidden=32, width=24, n_layers=1, batch_size=8, steps=2, warmup_steps=0
)


def rng(*purpose):
    return torch_generator(0, "k-osc tests", *purpose)


def test_the_log_spectral_distance_of_ten_times_is_20_db():
    sound = render(torch.rand(2, 3, 3, generator=rng("sound")))
    # 20 dB in every bin, less where the floor hides it.
    found = log_spectral_distance(sound, 10 * sound)
    assert found.min() > 16
    assert found.max() < 20.01
    assert log_spectral_distance(sound, sound).tolist() == [0, 0]


def test_the_map_does_not_depend_on_the_order():
    settings = torch.rand(5, 3, 3, generator=rng("map"))
    torch.testing.assert_close(true_map(settings), true_map(settings.flip(1)), atol=1e-5, rtol=0)
    drawn = true_map(torch.tensor([[[0.5, 1.0, 1.0]]]))[0].unflatten(0, (2, -1))
    assert abs(drawn[0].argmax().item() / (N_MAP - 1) - 0.5) < 0.01
    torch.testing.assert_close(drawn[0], drawn[1])


def test_without_a_condition_nothing_of_it_is_used():
    built = build(TINY).field.eval()
    x, time = torch.randn(2, 9, generator=rng("x")), torch.rand(2, generator=rng("time"))
    kept = torch.tensor([False, True])
    conditions = [torch.rand(2, 2 * N_MAP, generator=rng("c", i)) for i in range(2)]
    first, second = (built(x, time, condition, kept) for condition in conditions)
    assert torch.equal(first[0], second[0])
    assert not torch.equal(first[1], second[1])
    torch.testing.assert_close(first[:1], built(x[:1], time[:1], None))


def test_it_learns_on_a_handful():
    """60 steps on 32 sounds: below the loss of a constant answer, and every tensor moves."""
    model = build(TINY.but(n_oscillators=2, width=48, n_layers=2)).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    settings = torch.rand(32, 2, 3, generator=rng("few"))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(60):
        parts = model(settings, torch.tensor([step]))
        optimizer.zero_grad()
        sum(parts).backward()
        optimizer.step()
        losses.append([part.item() for part in parts])
    _, flow, regression = np.mean(losses[-10:], 0)
    # The answer 0: a flow's velocity has variance 2, a setting 1.
    assert flow < 0.9 * 2
    assert regression < 0.9
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


def test_training_needs_no_synthesizer(tmp_path):
    model = SYSTEM.train(TINY, tmp_path / "run")
    SYSTEM.save(model, tmp_path / "m.safetensors")
    again = SYSTEM.load(tmp_path / "m.safetensors")
    assert again.config == TINY
    drawn, plain = again.propose(torch.randn(2, 1024, generator=rng("a")), n=4)
    assert drawn.shape == (2, 4, 3, 3)
    assert plain.shape == (2, 3, 3)
    assert 0 <= drawn.min() <= drawn.max() <= 1

"""The kernels of the GPU against those of the processor: the same samples, the same gradients.

Without a GPU they run in triton's interpreter, in a process of its own: it must be chosen before triton is imported.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from inspect import signature

import pytest
import torch
from torch import Tensor

from labkit.effects.twins import NAMES, twin
from labkit.effects.twins.common import over_lanes
from labkit.effects.twins.kernels import constants
from labkit.effects.twins.ladder import _table

# float32 sums of the same products in the same order; of a backward pass, rounded once from float64. Echoes' and
# channels' gradients are added in another order, some twenty roundings apart.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
PACKAGE = "labkit.effects.twins.kernels"
# Name of a kernel, its inputs, and which of them its outputs look like (or their shapes).
Case = tuple[str, tuple[Tensor, ...], tuple[Tensor, ...]]


def cases(dtype: torch.dtype) -> Iterator[Case]:
    """Every kernel on a few short lanes: lengths that end within a block, knobs that differ from lane to lane."""
    draw = torch.Generator().manual_seed(3)
    noise = partial(torch.randn, generator=draw, dtype=dtype)
    share = lambda *shape, low=0.0, high=1.0: (  # noqa: E731
        low + (high - low) * torch.rand(*shape, generator=draw, dtype=dtype)
    )
    yield from linear_cases(noise, share)
    yield from modulation_cases(noise, share)
    audio, keeps = noise(5, 35), (share(5), share(5))
    yield from both(
        "dynamics.follow", (audio, *keeps), (audio,), lambda out, grad: (audio, *keeps, *out, grad)
    )
    # At 44.1 kHz the delays are longer than the clip; here they turn around many times, the right side's later.
    combs, allpasses = torch.tensor([[4, 5, 6, 7, 8, 9, 11, 13]]), torch.tensor([[4, 6, 7, 9]])
    for late in (0, 3):
        sides = torch.arange(2)[:, None] * 3 - late
        room = (
            noise(3, 29),
            share(3, high=0.98),
            share(3, high=0.4),
            combs + sides,
            allpasses + sides,
        )
        wet = torch.empty(3, 2, 29, dtype=dtype)
        yield from both(
            "reverb.room", room, (wet,), lambda _, grad, room=room: (*room, grad), n_grads=3
        )
    audio = 3 * noise(3, 35)
    knobs = torch.stack(
        [share(3), share(3, high=4.0), *(share(3, low=0.5, high=2.0) for _ in range(4))], -1
    )
    ladder = (audio, knobs, torch.tensor([0.0, 0.0, 1.2, -0.5, 0.3, 0.5], dtype=dtype))
    table = _table(dtype)
    yield from both(
        "ladder.ladder",
        (*ladder, table),
        (audio,),
        lambda _, grad: (*ladder, table, grad),
        n_grads=2,
    )


def linear_cases(noise: Callable[..., Tensor], share: Callable[..., Tensor]) -> Iterator[Case]:
    audio, stable = noise(3, 35), torch.tensor([0.2, 0.3, 0.1, -1.5, 0.7], dtype=torch.float64)
    inputs = (
        audio,
        stable * torch.rand(3, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64),
    )
    yield from both("linear.biquad", inputs, (audio,), lambda out, grad: (*inputs, *out, grad))
    audio, knobs = noise(4, 260), (share(4), torch.tensor([3, 50, 260, 50_000]))
    sums = torch.empty(4, dtype=torch.float64)
    yield from both(
        "linear.echo",
        (audio, *knobs),
        (audio,),
        lambda out, grad: (*knobs, *out, grad),
        like=(audio, sums, sums),
    )


def modulation_cases(noise: Callable[..., Tensor], share: Callable[..., Tensor]) -> Iterator[Case]:
    increment = share(3, high=3.0)
    yield "modulation.accumulate", (increment,), (increment.new_empty(3, 35),)
    feedback = share(3, low=-0.9, high=0.9)
    for shortest, samples in ((0.0, 13), (9.0, 41)):  # sample by sample, and eight samples at once
        audio, line = noise(3, 2, samples), (share(3, samples, low=shortest, high=30.0), feedback)
        yield from both(
            "modulation.delay_line",
            (audio, *line),
            (audio, audio),
            lambda out, grad, line=line: (*line, out[0], grad),
            like=(audio, *line),
        )
    for samples in (35, 36):  # the last update is shorter than the others, and is not
        gain, clip = share(3, -(-samples // constants.UPDATE_EVERY)), noise(3, 2, samples)
        ends = clip.new_empty(3, 2, constants.STAGES)
        yield from both(
            "modulation.allpasses",
            (clip, gain, feedback),
            (clip, ends),
            lambda out, grad, gain=gain: (gain, feedback, *out, grad),
            like=(clip, gain, feedback),
        )


def both(
    name: str,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    of_backward: Callable[[tuple[Tensor, ...], Tensor], tuple[Tensor, ...]],
    *,
    n_grads: int | None = None,
    like: tuple[Tensor, ...] | None = None,
) -> Iterator[Case]:
    """A kernel and its gradient, which takes what the processor's kernel gave."""
    yield name, inputs, outputs
    found = on_processor(name, inputs, outputs)
    wet = found[-1] if name != "modulation.allpasses" else found[0]
    grad = torch.randn(wet.shape, generator=torch.Generator().manual_seed(4), dtype=wet.dtype)
    yield name + "_backward", of_backward(tuple(found), grad), like or inputs[:n_grads]


def on_processor(
    name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> list[Tensor]:
    module, function = name.split(".")
    found = [torch.full_like(output, torch.nan) for output in outputs]
    arrays = [tensor.numpy() for tensor in (*inputs, *found)]
    over_lanes(getattr(import_module(f"{PACKAGE}.{module}"), function), len(inputs[0]), *arrays)
    return found


def by_triton(
    name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], device: torch.device
) -> list[Tensor]:
    module, function = name.split(".")
    found = [torch.full_like(output, torch.nan, device=device) for output in outputs]
    getattr(import_module(f"{PACKAGE}.triton_{module}"), function)(
        *(x.to(device) for x in inputs), *found
    )
    return [output.cpu() for output in found]


def worst_errors(device: torch.device) -> dict[str, float]:
    """Kernel and dtype -> the largest difference, as a share of the largest value, over all outputs and cases."""
    worst: dict[str, float] = {}
    for dtype in TOLERANCE:
        for name, inputs, outputs in cases(dtype):
            expected, given = (
                on_processor(name, inputs, outputs),
                by_triton(name, inputs, outputs, device),
            )
            for here, there in zip(expected, given, strict=True):
                # Where the delays are longer than the clip the gradient of the feedback is 0, on both sides.
                error = ((here - there).abs().max() / here.abs().max().clamp_min(1e-30)).item()
                key = f"{name} {dtype}"
                worst[key] = max(worst.get(key, 0.0), error) if error == error else float("inf")
    return worst


KERNELS = [
    stem + end
    for stem in (
        *(
            "linear.biquad",
            "linear.echo",
            "dynamics.follow",
            "modulation.delay_line",
            "modulation.allpasses",
        ),
        *("reverb.room", "ladder.ladder"),
    )
    for end in ("", "_backward")
] + ["modulation.accumulate"]


@pytest.fixture(scope="module")
def errors() -> Callable[[torch.device], dict[str, float]]:
    """The errors on a device, measured once: on the CPU in triton's interpreter."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: it comes with torch's CUDA wheels")
    measured: dict[str, dict[str, float]] = {}

    def on(device: torch.device) -> dict[str, float]:
        if device.type not in measured:
            measured[device.type] = worst_errors(device) if device.type == "cuda" else interpreted()
        return measured[device.type]

    return on


def interpreted() -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", KERNELS)
def test_triton_gives_what_the_processor_gives(name, dtype, device, errors) -> None:
    assert errors(device)[f"{name} {dtype}"] <= TOLERANCE[dtype]


def test_every_kernel_of_the_processor_is_compared() -> None:
    found = set()
    for module in {name.split(".")[0] for name in KERNELS}:
        for name, kernel in vars(import_module(f"{PACKAGE}.{module}")).items():
            # Those that walk the lanes from `first` on; the others are parts of them.
            if (
                hasattr(kernel, "py_func")
                and next(iter(signature(kernel.py_func).parameters), "") == "first"
            ):
                found.add(f"{module}.{name}")
    assert found == set(KERNELS)


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_on_a_gpu_is_the_twin_on_the_processor(name) -> None:
    if not torch.cuda.is_available():
        pytest.skip(
            "no CUDA device here: the kernels run in triton's interpreter, in the tests above"
        )
    audio = 0.3 * torch.randn(3, 1, 5000, generator=torch.Generator().manual_seed(5))
    here, there = (gradients(name, audio, place) for place in ("cpu", "cuda"))
    # Sines, powers and tangents differ in the last digit; a phaser or a ladder makes some 40 dB of that.
    for one, other in zip(here, there, strict=True):
        assert (one - other).norm() <= 1e-3 * one.norm() + 1e-9


def gradients(name: str, audio: Tensor, device: str) -> list[Tensor]:
    """The output, the gradient of the audio, and those of all knobs."""
    from labkit.effects.registry import EFFECTS

    knobs = {"cutoff_hz": 900.0, "resonance": 0.4, "drive": 3.0}
    if name in EFFECTS:
        space = EFFECTS[name].space
        knobs = space.from_unit(torch.linspace(0.3, 0.7, len(space)).numpy())
    values = {
        key: torch.tensor([value] * len(audio), device=device, requires_grad=True)
        for key, value in knobs.items()
    }
    leaf = audio.to(device).requires_grad_()
    wet = twin(name)(leaf, 44_100, **values)
    (wet * torch.linspace(-1, 1, wet.shape[-1], device=device)).sum().backward()
    return [wet.detach().cpu(), leaf.grad.cpu(), *(value.grad.cpu() for value in values.values())]


def mend_interpreter() -> None:
    """The interpreter of triton 3.6 asks for the int of an array with one element, which NumPy 2.4 refuses to give."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_and_mend(tensor: type, scope: object) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_and_mend


if __name__ == "__main__":
    mend_interpreter()
    print(json.dumps(worst_errors(torch.device("cpu"))))

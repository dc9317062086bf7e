"""The kernels of the GPU against those of the processor: the same samples, the same gradients.

Without a GPU they run in triton's interpreter, and are compiled for a GPU that is not there: each
in a process of its own, since the interpreter must be chosen before triton is imported.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from labkit.effects import ambience, dynamics, filters, kernels, modulation
from labkit.effects.kernels import Kernel, Recurrence

# float32 sums of the same products in the same order; of a backward pass, rounded once from
# float64. Gradients of echoes and channels are added in another order, some twenty roundings apart.
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-12}
MODULES = (ambience, dynamics, filters, modulation)
Run = Callable[[Kernel, Sequence[Tensor], Sequence[Tensor]], None]


def cases(dtype: torch.dtype) -> Iterator[tuple[Recurrence, tuple[Tensor, ...]]]:
    """Every kernel on short lanes that end within a block; knobs differ from lane to lane."""
    draw = torch.Generator().manual_seed(3)
    noise = partial(torch.randn, generator=draw, dtype=dtype)

    def share(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=draw, dtype=dtype)

    poles = torch.tensor([0.2, 0.3, 0.1, -1.5, 0.7], dtype=torch.float64)
    yield filters.BIQUAD, (noise(3, 35), poles * share(3, 1).double())
    yield ambience.ECHO, (noise(4, 260), share(4), torch.tensor([3.0, 50, 260, 50_000]).double())
    yield dynamics.FOLLOW, (noise(5, 35), share(5), share(5))
    back = share(3, low=-0.9, high=0.9)
    for shortest, samples in ((0.0, 13), (9.0, 41)):  # sample by sample, and eight at once
        lags = share(3, samples, low=shortest, high=30.0)
        yield modulation.DELAY_LINE, (noise(3, 2, samples), lags, back)
    for samples in (35, 36):  # the last update is shorter than the others, and is not
        gain = share(3, -(-samples // modulation.UPDATE_EVERY))
        yield modulation.ALLPASSES, (noise(3, 2, samples), gain, back)
    # At 44.1 kHz the delays are longer than the clip; these turn around many times.
    combs, passes = torch.tensor([[4, 5, 6, 7, 8, 9, 11, 13]]), torch.tensor([[4, 6, 7, 9]])
    for late in (0, 3):
        sides = torch.arange(2)[:, None] * 3 - late
        knobs = (share(3, high=0.98), share(3, high=0.4))
        yield ambience.ROOM, (noise(3, 29), *knobs, combs + sides, passes + sides)


def outcome(
    recurrence: Recurrence, inputs: Sequence[Tensor], run: Run, kept_from: dict | None = None
) -> dict[str, dict[str, Tensor]]:
    """Kernel -> name of a tensor -> what the kernel filled it with, forward and backward."""
    forward, backward = recurrence.forward, recurrence.backward
    inputs = [kernels.for_kernel(x) for x in inputs]
    outputs = [torch.full_like(x, torch.nan) for x in recurrence.empty(*inputs)]
    run(forward, inputs, outputs)
    filled = dict(zip(forward.arguments[len(inputs) :], outputs, strict=True))
    # The gradient is compared for the same outputs, those of the processor.
    known = dict(zip(forward.arguments, inputs, strict=False)) | (kept_from or filled)
    kept = [known[name].to(inputs[0].device) for name in backward.arguments if name in known]
    label, *wanted = backward.arguments[len(kept) :]
    wet = known[label.removeprefix("grad_")]
    grad = torch.randn(wet.shape, generator=torch.Generator().manual_seed(4), dtype=wet.dtype)
    grad = kernels.for_kernel(grad.to(inputs[0].device))
    shapes = [known.get(name.removeprefix("grad_"), grad) for name in wanted]
    grads = [torch.full_like(kernels.for_kernel(x.to(grad.device)), torch.nan) for x in shapes]
    run(backward, [*map(kernels.for_kernel, kept), grad], grads)
    return {forward.__name__: filled, backward.__name__: dict(zip(wanted, grads, strict=True))}


def by_triton(kernel: Kernel, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    from labkit.effects import triton_kernels

    getattr(triton_kernels, kernel.__name__)(*inputs, *outputs)


def worst_errors(device: torch.device) -> dict[str, float]:
    """Kernel and dtype -> the largest difference, as a share of the largest value."""
    worst: dict[str, float] = {}

    def compare(name: str, dtype: torch.dtype, here: Tensor, there: Tensor) -> None:
        # Where delays are longer than the clip the gradient of the feedback is 0, on both sides.
        there = there.cpu()
        error = ((here - there).abs().max() / here.abs().max().clamp_min(1e-30)).item()
        key = f"{name} {dtype}"
        worst[key] = max(worst.get(key, 0.0), error) if error == error else float("inf")

    for dtype in TOLERANCE:
        for recurrence, inputs in cases(dtype):
            expected = outcome(recurrence, inputs, Kernel.__call__)
            forward = expected[recurrence.forward.__name__]
            moved = [x.to(device) for x in inputs]
            given = outcome(recurrence, moved, by_triton, kept_from=forward)
            for name, tensors in expected.items():
                for label, tensor in tensors.items():
                    compare(name, dtype, tensor, given[name][label])
        increment = torch.tensor([0.1, 1.7, 3.0], dtype=dtype)
        phases = [torch.full((3, 35), torch.nan, dtype=dtype, device=x) for x in ("cpu", device)]
        modulation.accumulate((increment,), phases[:1])
        by_triton(modulation.accumulate, (increment.to(device),), phases[1:])
        compare("accumulate", dtype, *phases)
    return worst


def walkers() -> list[str]:
    """The kernels that a device may run; the others are parts of them."""
    found = [x for module in MODULES for x in vars(module).values() if isinstance(x, Kernel)]
    return [x.__name__ for x in found if x.function.__code__.co_varnames[:1] == ("first",)]


@pytest.fixture(scope="module")
def errors() -> Callable[[torch.device], dict[str, float]]:
    """The errors on a device, measured once: on the CPU in triton's interpreter."""
    if find_spec("triton") is None:
        pytest.skip("triton is not installed: it comes with torch's CUDA wheels")
    measured: dict[str, dict[str, float]] = {}

    def on(device: torch.device) -> dict[str, float]:
        if device.type not in measured:
            measured[device.type] = (
                worst_errors(device)
                if device.type == "cuda"
                else alone("interpret", TRITON_INTERPRET="1")
            )
        return measured[device.type]

    return on


def alone(task: str, **environment: str) -> dict[str, float]:
    """What this file prints of a task, run as a script."""
    done = subprocess.run(
        [sys.executable, __file__, task],
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", walkers())
def test_triton_gives_what_the_processor_gives(name, dtype, device, errors) -> None:
    assert errors(device)[f"{name} {dtype}"] <= TOLERANCE[dtype]


@pytest.mark.long
def test_every_kernel_compiles_for_a_gpu(tmp_path) -> None:
    pytest.importorskip("triton", reason="triton comes with torch's CUDA wheels")
    compiled = alone("compile", TRITON_CACHE_DIR=str(tmp_path))
    from labkit.effects import triton_kernels

    kernels = [
        name for name, x in vars(triton_kernels).items() if type(x).__name__ == "JITFunction"
    ]
    launched = {"_walk", "_comb", "_delay_line", "_delay_line_backward"}
    assert compiled.keys() == launched < set(kernels)
    assert min(compiled.values()) > 0


def compile_all() -> dict[str, int]:
    """Kernel -> bytes of code for an H100 or H200, which need not be there."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import JITFunction, driver

    from labkit.effects import triton_kernels

    class Absent:
        get_current_target = staticmethod(lambda: GPUTarget("cuda", 90, 32))
        get_current_device = get_current_stream = staticmethod(lambda *_: 0)

    found: dict[str, int] = {}
    run = JITFunction.run

    def compile_only(kernel, *arguments, **options):
        compiled = run(kernel, *arguments, **options | {"warmup": True})
        found[kernel.__name__] = len(compiled.asm["cubin"])

    driver.set_active(Absent())
    JITFunction.run = compile_only
    triton_kernels._at_once = lambda *_: 64
    for recurrence, inputs in cases(torch.float32):
        outcome(recurrence, inputs, by_triton)
    by_triton(modulation.accumulate, [torch.ones(2)], [torch.ones(2, 35)])
    return found


def mend_interpreter() -> None:
    """The interpreter of triton 3.6 asks an array for its int, which NumPy 2.4 refuses to give."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang_tensor

    def patch_and_mend(tensor: type, scope: object) -> None:
        patch(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    interpreter._patch_lang_tensor = patch_and_mend


def lay_out_by_sample() -> None:
    """Give tensors of the processor, which stand for those of a GPU here, the layout of a GPU."""

    def by_sample(signal: Tensor) -> Tensor:
        return signal.movedim(-1, 0).contiguous().movedim(0, -1)

    kernels.for_kernel = ambience.for_kernel = by_sample


if __name__ == "__main__":
    lay_out_by_sample()
    if sys.argv[1] == "compile":
        print(json.dumps(compile_all()))
    else:
        mend_interpreter()
        print(json.dumps(worst_errors(torch.device("cpu"))))

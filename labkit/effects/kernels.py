"""Kernels that process sample by sample, their gradients, and helpers of differentiable pedals.

Samples of a recursion depend on each other, so a kernel works on many lanes (channels or clips)
at once. On the processor numba compiles it; on a CUDA device the function of the same name in
`triton_kernels` runs instead.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, wraps
from importlib import import_module
from inspect import signature
from math import ceil
from types import FunctionType

import torch
from torch import Tensor

from labkit.signal.optional import need


class Kernel:
    """A function that numba compiles at its first call, so that printing a chain needs no numba.

    Its signature is ``(first, stop, *inputs, *outputs)``: it fills the outputs, arrays with the
    lanes in their first axis, for the lanes `first` to `stop - 1`. Others are parts of such.
    """

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.__name__ = function.__name__

    @cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of inputs and outputs."""
        return tuple(signature(self.function).parameters)[2:]

    @cached_property
    def compiled(self) -> Callable:
        """What numba makes of the function; it releases Python's lock."""
        function, known = self.function, self.function.__globals__
        # numba must find the kernels that this one calls in their compiled form.
        parts = {
            name: known[name].compiled
            for name in function.__code__.co_names
            if isinstance(known.get(name), Kernel)
        }
        linked = FunctionType(function.__code__, {**known, **parts}, function.__name__)
        linked.__qualname__, linked.__module__ = function.__qualname__, function.__module__
        return need("numba").njit(cache=True, nogil=True)(linked)

    def __call__(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
        """Fill `outputs` (contiguous on the processor) from `inputs`, all lanes first."""
        if inputs[0].device.type == "cuda":
            kernels = import_module("labkit.effects.triton_kernels")
            with torch.cuda.device_of(inputs[0]):
                getattr(kernels, self.__name__)(*inputs, *outputs)
            return
        arrays = [x.detach().contiguous().numpy() for x in inputs]
        arrays += [x.numpy() for x in outputs]
        n_lanes = len(inputs[0])
        size = max(1, ceil(n_lanes / torch.get_num_threads()))

        def fill(first: int) -> None:
            self.compiled(first, min(first + size, n_lanes), *arrays)

        if size >= n_lanes:
            fill(0)
            return
        starts = range(0, n_lanes, size)
        with ThreadPoolExecutor(len(starts)) as threads:
            list(threads.map(fill, starts))  # the list raises what a thread raised


class Recurrence:
    """A kernel and the kernel of its gradient, as one function of tensors for autograd.

    The names of their arguments join the two. `backward` takes, in this order: inputs and outputs
    of `forward` that are kept between the passes, under the same names; ``grad_wet``, the gradient
    of the output ``wet``, which is the one that a call returns; and the gradients that it fills,
    such as ``grad_audio`` of the input ``audio``.

    Attributes:
        empty: inputs -> the outputs of `forward`, not yet filled.
    """

    def __init__(
        self,
        forward: Kernel,
        backward: Kernel,
        empty: Callable[..., Sequence[Tensor]] = lambda audio, *_: (torch.empty_like(audio),),
    ) -> None:
        self.forward, self.backward, self.empty = forward, backward, empty

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Run the kernel; differentiable in every input whose gradient `backward` fills."""
        return _Run.apply(self, *inputs)


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, recurrence: Recurrence, *inputs: Tensor) -> Tensor:
        inputs = [for_kernel(x) for x in inputs]
        outputs = recurrence.empty(*inputs)
        recurrence.forward(inputs, outputs)
        names, of_backward = recurrence.forward.arguments, recurrence.backward.arguments
        tensors = dict(zip(names, (*inputs, *outputs), strict=True))
        kept = [name for name in of_backward if name in tensors]
        ctx.recurrence, ctx.kept, ctx.inputs = recurrence, kept, names[: len(inputs)]
        ctx.save_for_backward(*(tensors[name] for name in kept))
        returned = of_backward[len(kept)].removeprefix("grad_")
        return tensors[returned]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad = for_kernel(grad)
        kept = dict(zip(ctx.kept, ctx.saved_tensors, strict=True))
        wanted = ctx.recurrence.backward.arguments[len(kept) + 1 :]
        names = [name.removeprefix("grad_") for name in wanted]
        # Audio that is not kept has the shape of what came out.
        grads = {name: torch.empty_like(kept.get(name, grad)) for name in names}
        ctx.recurrence.backward((*kept.values(), grad), tuple(grads.values()))
        return None, *(grads.get(name) for name in ctx.inputs)


def for_kernel(signal: Tensor) -> Tensor:
    """(..., samples) laid out for kernels: by lane on the processor, by sample elsewhere.

    The latter lets neighbouring threads of a GPU, each on a lane, read neighbouring numbers.
    """
    if signal.device.type == "cpu":
        return signal.contiguous()
    return signal.movedim(-1, 0).contiguous().movedim(0, -1)


def lanes(audio: Tensor) -> Tensor:
    """(batch, channels, samples) -> (batch * channels, samples), laid out as by `for_kernel`."""
    return for_kernel(audio.reshape(-1, audio.shape[-1]))


def per_lane(value: Tensor, audio: Tensor) -> Tensor:
    """(batch, ...) -> (batch * channels, ...): every channel of an item gets the item's value."""
    return value.repeat_interleave(audio.shape[1], dim=0)


def over_time(value: Tensor) -> Tensor:
    """(batch,) -> (batch, 1, 1)."""
    return value[:, None, None]


def batched(pedal: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Let a pedal take audio of any floating dtype, and numbers or tensors () or (batch,) as knobs.

    The pedal itself gets audio (batch, channels, samples) of at least float32 and knobs (batch,) of
    its dtype and device. TypeError for audio that is not floating point, ValueError for audio of
    another shape, for a rate that is not positive and for a knob of another shape.
    """

    @wraps(pedal)
    def play(audio: Tensor, sample_rate: int, **knobs: Tensor | float) -> Tensor:
        check_batch(audio, sample_rate)
        dry = audio.to(torch.promote_types(audio.dtype, torch.float32))
        values = {name: per_item(value, dry, name) for name, value in knobs.items()}
        return pedal(dry, sample_rate, **values).to(audio.dtype)

    return play


def check_batch(audio: Tensor, sample_rate: int) -> None:
    """Raise unless `audio` is floating (batch, channels, samples) and the rate is positive."""
    if not isinstance(audio, Tensor) or not audio.is_floating_point():
        given = audio.dtype if isinstance(audio, Tensor) else type(audio).__name__
        raise TypeError(f"audio must be a floating-point tensor, got {given}")
    if audio.ndim != 3 or audio.shape[-1] == 0:
        raise ValueError(
            "audio must be (batch, channels, samples) with at least one sample, "
            f"got {tuple(audio.shape)}"
        )
    if not sample_rate > 0:  # nor what is not a number
        raise ValueError(f"sample_rate must be positive, got {sample_rate} Hz")


def per_item(value: Tensor | float, audio: Tensor, name: str) -> Tensor:
    """One value of a knob for every item: (batch,), with the dtype and device of `audio`."""
    value = torch.as_tensor(value, dtype=audio.dtype, device=audio.device)
    if value.ndim > 1 or (value.ndim == 1 and len(value) not in (1, len(audio))):
        raise ValueError(
            f"{name} must be a number or of shape ({len(audio)},), got {tuple(value.shape)}"
        )
    return value.expand(len(audio))


@cache
def float32_function(function: Callable[[float], float]) -> Callable:
    """A Python function as a ufunc of float32 that calls the C library's own float32 functions.

    NumPy and torch have their own sine, power and so on, which differ in the last digit.
    """
    return need("numba").vectorize(["float32(float32)"], cache=True)(function)

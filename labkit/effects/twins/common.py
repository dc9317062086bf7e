"""What all twins share: arguments checked, one value per item, and kernels that walk the samples of many lanes."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from math import ceil

import torch
from torch import Tensor


def check_audio(audio: Tensor, sample_rate: int) -> None:
    """Raise unless `audio` is a floating (batch, channels, samples) tensor with samples, and the rate is positive."""
    if not isinstance(audio, Tensor) or not audio.is_floating_point():
        given = audio.dtype if isinstance(audio, Tensor) else type(audio).__name__
        raise TypeError(f"audio must be a floating-point tensor, got {given}")
    if audio.ndim != 3 or audio.shape[-1] == 0:
        raise ValueError(
            f"audio must be (batch, channels, samples) with at least one sample, got {tuple(audio.shape)}"
        )
    if not sample_rate > 0:  # nor what is not a number
        raise ValueError(f"sample_rate must be positive, got {sample_rate} Hz")


def per_item(value: Tensor | float, audio: Tensor, name: str) -> Tensor:
    """One value of a knob for every item of a batch.

    Args:
        value: a number, or a tensor () or (batch,).
        audio: (batch, channels, samples).
        name: of the knob, for the error.

    Returns:
        (batch,) in the dtype and on the device of `audio`.

    Raises:
        ValueError: for another shape.
    """
    value = torch.as_tensor(value, dtype=audio.dtype, device=audio.device)
    if value.ndim > 1 or (value.ndim == 1 and len(value) not in (1, len(audio))):
        raise ValueError(
            f"{name} must be a number or of shape ({len(audio)},), got {tuple(value.shape)}"
        )
    return value.expand(len(audio))


def per_lane(value: Tensor, audio: Tensor) -> Tensor:
    """(batch,) -> (batch * channels,): every channel of an item gets the item's value."""
    return value.repeat_interleave(audio.shape[1])


def over_time(value: Tensor) -> Tensor:
    """(batch,) -> (batch, 1, 1)."""
    return value[:, None, None]


def at_least_float32(audio: Tensor) -> Tensor:
    """Half precision as float32, everything else as it is."""
    return audio.to(torch.promote_types(audio.dtype, torch.float32))


def walkable(signal: Tensor) -> Tensor:
    """(..., samples) as kernels want it in memory: lane after lane on the processor, sample after sample elsewhere.

    The latter lets the neighbouring threads of a GPU, each on a lane, read neighbouring numbers.
    """
    if signal.device.type == "cpu":
        return signal.contiguous()
    return signal.movedim(-1, 0).contiguous().movedim(0, -1)


def unfilled(like: Tensor, *shape: int) -> Tensor:
    """A tensor (..., samples) to write into, `walkable`, of the dtype and on the device of another."""
    if like.device.type == "cpu":
        return like.new_empty(shape)
    return like.new_empty(shape[-1], *shape[:-1]).movedim(0, -1)


def lanes(audio: Tensor) -> Tensor:
    """(batch, channels, samples) -> (batch * channels, samples), `walkable`."""
    return walkable(audio.reshape(-1, audio.shape[-1]))


def over_lanes(kernel: Callable[..., None], n_lanes: int, *arrays: object) -> None:
    """Run ``kernel(first, stop, *arrays)`` on slices of the lanes, one thread each; the kernel releases the GIL.

    Args:
        kernel: works on lanes ``first`` to ``stop - 1`` of every array, in place.
        n_lanes: lanes in all.
        *arrays: numpy arrays (or numbers) that the kernel takes.
    """
    n_threads = min(torch.get_num_threads(), n_lanes)
    if n_threads <= 1:
        kernel(0, n_lanes, *arrays)
        return
    size = ceil(n_lanes / n_threads)
    with ThreadPoolExecutor(n_threads) as threads:
        jobs = [
            threads.submit(kernel, first, min(first + size, n_lanes), *arrays)
            for first in range(0, n_lanes, size)
        ]
        for job in jobs:
            job.result()


def run_kernel(name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Run a kernel over all lanes: on a CUDA device by triton, elsewhere on the processor.

    Without triton, tensors of a CUDA device go through the processor and back.

    Args:
        name: ``"module.function"`` of the package of kernels. For the processor it takes the first lane, the lane to
            stop before, then the arrays of `inputs` and those of `outputs`; ``"triton_module.function"`` takes the
            tensors of `inputs`, then those of `outputs`.
        inputs: lanes first; read only.
        outputs: lanes first, contiguous on the processor; filled by the kernel.
    """
    module, function = name.split(".")
    package = f"{__package__}.kernels"
    if inputs[0].device.type == "cuda" and _has_triton():
        with torch.cuda.device_of(inputs[0]):
            getattr(import_module(f"{package}.triton_{module}"), function)(*inputs, *outputs)
        return
    kernel = getattr(import_module(f"{package}.{module}"), function)
    buffers = [
        output if output.device.type == "cpu" else _on_cpu(torch.empty_like(output))
        for output in outputs
    ]
    arrays = [tensor.detach().numpy() for tensor in (*map(_on_cpu, inputs), *buffers)]
    over_lanes(kernel, len(inputs[0]), *arrays)
    for output, buffer in zip(outputs, buffers, strict=True):
        if buffer is not output:
            output.copy_(buffer)


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.cpu().contiguous()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None

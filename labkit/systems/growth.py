"""How the cost of the torch pedals grows, their share of the memory's speed, and another library beside them."""

import ctypes
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from math import inf
from pathlib import Path

import torch
from torch import Tensor

from labkit.effects.registry import EFFECTS, effect
from labkit.effects.twins import twin
from labkit.effects.twins.board import from_unit, render_chains
from labkit.measure.score import Row
from labkit.signal.optional import need
from labkit.signal.seeds import generator

# First pedal first; a chain of n pedals holds the first n.
PEDALS = ("compressor", "distortion", "chorus", "delay", "reverb", "phaser", "low_shelf", "peak")
# One of these grows while the others stand.
STANDING: Mapping[str, int] = {"items": 16, "seconds": 1, "pedals": 5}
SIZES: Mapping[str, tuple[int, ...]] = {
    "items": (1, 4, 16, 64, 256, 1024, 4096),
    "seconds": (1, 2, 5, 10, 30, 60),
    "pedals": tuple(range(1, len(PEDALS) + 1)),
}
# Batches that are alive at once at the worst moment: in the chorus, whose delays are found in float64.
ALIVE = 16
# Of the bands of a parametric equaliser, first to last.
BANDS = ("low_shelf", "peak", "peak", "peak", "peak", "high_shelf")


def growth_rows(
    *,
    device: torch.device | str | None = None,
    memory_bytes: int = 4 * 2**30,
    sizes: Mapping[str, tuple[int, ...]] = SIZES,
    seed: int = 1,
    sample_rate: int = 44_100,
) -> list[Row]:
    """Wall time and peak memory of a chain of twins against items, seconds and pedals, one at a time.

    Args:
        device: where to run; a CUDA device when None and there is one.
        memory_bytes: sizes that would take more are left out.
        sizes: what to grow, of ``"items"``, ``"seconds"`` and ``"pedals"``, and its sizes.
        seed: of audio and settings.
        sample_rate: Hz.

    Returns:
        For each size a row of seconds, then one of MB where the memory can be measured. Each metric names its size.

    Raises:
        ValueError: for a name that cannot grow, or if `memory_bytes` is not positive.
    """
    if not set(sizes) <= set(STANDING):
        raise ValueError(f"sizes must be among {', '.join(STANDING)}, got {', '.join(sizes)}")
    if memory_bytes <= 0:
        raise ValueError(f"memory_bytes must be positive, got {memory_bytes}")
    device = _device(device)
    rows = []
    for axis, values in sizes.items():
        others = ", ".join(f"{size} {name}" for name, size in STANDING.items() if name != axis)
        for value in values:
            task = {**STANDING, axis: value}
            if 4 * ALIVE * task["items"] * task["seconds"] * sample_rate > memory_bytes:
                continue
            seconds, peak = cost(
                _chains(**task, seed=seed, sample_rate=sample_rate, device=device), device
            )
            shared = {
                "protocol": f"growth with {axis}; {others}",
                "name": f"twins, {device_name(device)}",
            }
            shared |= {
                "sources": "generated",
                "low": None,
                "high": None,
                "n": task["items"],
                "seed": seed,
            }
            rows.append(Row(metric=f"time: {value} {axis}", unit="s", ours=seconds, **shared))
            if peak is not None:
                rows.append(
                    Row(metric=f"memory: {value} {axis}", unit="MB", ours=peak / 2**20, **shared)
                )
    return rows


def cost(
    run: Callable[[], object], device: torch.device, *, repeats: int = 2
) -> tuple[float, float | None]:
    """Seconds of the fastest of `repeats` runs, and the bytes that the run before them took at its worst moment.

    Args:
        run: what to measure; its first run, which may compile, is neither timed nor (on a GPU) weighed.
        device: where it runs.
        repeats: timed runs.

    Returns:
        (seconds, bytes); None for bytes where they cannot be measured (a processor outside Linux).
    """
    run()
    reset, peak = _memory_of(device)
    before = reset()
    run()
    peak_bytes = peak()
    best = inf
    for _ in range(repeats):
        _wait(device)
        started = time.perf_counter()
        run()
        _wait(device)
        best = min(best, time.perf_counter() - started)
    return best, None if before is None or peak_bytes is None else max(0.0, peak_bytes - before)


def bandwidth_rows(
    *,
    device: torch.device | str | None = None,
    items: int = 1024,
    seconds: int = 1,
    seed: int = 1,
    sample_rate: int = 44_100,
) -> list[Row]:
    """The share of the memory's measured speed that each pedal, and five in a row, reach.

    What has to be moved is counted as one read and one write of the batch per pedal; the speed of the memory is that
    of copying a batch.

    Args:
        device: where to run; a CUDA device when None and there is one.
        items: of the batch.
        seconds: length of each.
        seed: of audio and settings.
        sample_rate: Hz.

    Returns:
        A row for the memory in GB/s, one for each pedal, and one for the chain; shares lie between 0 and 1.
    """
    device = _device(device)
    moved = 2 * 4 * items * seconds * sample_rate
    batch = torch.zeros(items, 1, seconds * sample_rate, device=device)
    target = torch.empty_like(batch)
    speed = moved / cost(lambda: target.copy_(batch), device, repeats=5)[0]
    shared = {"protocol": f"{items} items of {seconds} s", "name": f"twins, {device_name(device)}"}
    shared |= {"sources": "generated", "low": None, "high": None, "n": items, "seed": seed}
    rows = [Row(metric="memory copied", unit="GB/s", ours=speed / 1e9, **shared)]
    size = {
        "items": items,
        "seconds": seconds,
        "seed": seed,
        "sample_rate": sample_rate,
        "device": device,
    }
    for pedals in (*((name,) for name in PEDALS), PEDALS[:5]):
        found = cost(_run(pedals, **size), device)[0]
        name = (
            "share of memory speed, 5 pedals"
            if len(pedals) > 1
            else f"share of memory speed: {pedals[0]}"
        )
        rows.append(Row(metric=name, unit="", ours=len(pedals) * moved / found / speed, **shared))
    return rows


def dasp_rows(
    *,
    device: torch.device | str | None = None,
    items: int = 16,
    seconds: int = 1,
    seed: int = 1,
    sample_rate: int = 44_100,
) -> list[Row]:
    """The four effects that dasp-pytorch has too, both libraries on the same audio; no rows where it is not installed.

    Theirs are other designs: a compressor whose release is not used, an equaliser sampled in frequency, a reverb of
    filtered noise. The audio is mono, the equaliser has six bands, the settings are the middle of ours.

    Args:
        device: where to run; a CUDA device when None and there is one.
        items: of the batch.
        seconds: length of each.
        seed: of the audio.
        sample_rate: Hz.

    Returns:
        Rows in x real time, forward alone, then forward and backward.

    Source: Steinmetz, Bryan and Reiss, "Style transfer of audio effects with differentiable signal processing" (JAES
        70(9), 2022), and the library that followed it.
    """
    if find_spec("dasp_pytorch") is None:
        return []
    device = _device(device)
    audio = _audio(items, seconds, seed, sample_rate, device)
    shared = {
        "protocol": f"1 effect, {items} items of {seconds} s",
        "sources": "generated",
        "unit": "x real time",
    }
    shared |= {"low": None, "high": None, "n": items, "seed": seed}
    rows = []
    for name, (ours, theirs) in _same_effects(items, device).items():
        for library, render in (("twins", ours), ("dasp-pytorch", theirs)):
            for metric, run in _forward_and_backward(render, audio, sample_rate):
                speed = items * seconds / cost(run, device)[0]
                rows.append(
                    Row(
                        name=f"{library}, {device_name(device)}",
                        metric=f"{metric}: {name}",
                        ours=speed,
                        **shared,
                    )
                )
    return rows


def device_name(device: torch.device) -> str:
    """The GPU's own name, or the processor with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"processor, {torch.get_num_threads()} threads"


def _device(device: torch.device | str | None) -> torch.device:
    return torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _memory_of(
    device: torch.device,
) -> tuple[Callable[[], float | None], Callable[[], float | None]]:
    """Functions that forget the worst moment and return the bytes in use, and that return those of the worst since."""
    if device.type == "cuda":

        def reset() -> float:
            torch.cuda.reset_peak_memory_stats(device)
            return torch.cuda.memory_allocated(device)

        return reset, lambda: torch.cuda.max_memory_allocated(device)

    status, forget = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def resident(kind: str) -> float | None:
        lines = status.read_text().splitlines() if status.exists() else []
        return next(
            (1024.0 * int(line.split()[1]) for line in lines if line.startswith(kind)), None
        )

    def reset_here() -> float | None:
        try:
            ctypes.CDLL(None).malloc_trim(0)  # what earlier runs freed and the allocator kept
            forget.write_text("5")  # Linux: the peak of the resident memory begins anew
        except (OSError, AttributeError):
            return None
        return resident("VmRSS")

    return reset_here, lambda: resident("VmHWM")


def _audio(items: int, seconds: int, seed: int, sample_rate: int, device: torch.device) -> Tensor:
    noise = generator(seed, "growth audio").standard_normal(
        (items, 1, seconds * sample_rate), dtype="float32"
    )
    return torch.from_numpy(0.1 * noise).to(device)


def _chains(*, items: int, seconds: int, pedals: int, **rest: object) -> Callable[[], object]:
    return _run(PEDALS[:pedals], items=items, seconds=seconds, **rest)


def _run(
    names: tuple[str, ...],
    *,
    items: int,
    seconds: int,
    seed: int,
    sample_rate: int,
    device: torch.device,
) -> Callable[[], object]:
    """A forward pass through these pedals, each item with settings of its own."""
    audio = _audio(items, seconds, seed, sample_rate, device)
    draws = [generator(seed, "growth", item) for item in range(items)]
    chains = [[(name, effect(name).space.sample(draw)) for name in names] for draw in draws]

    def run() -> None:
        with torch.no_grad():
            render_chains(audio, sample_rate, chains)

    return run


def _forward_and_backward(
    render: Callable[[Tensor, int], Tensor], audio: Tensor, sample_rate: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    def forward() -> None:
        with torch.no_grad():
            render(audio, sample_rate)

    def backward() -> None:
        render(audio.clone().requires_grad_(), sample_rate).square().sum().backward()

    yield "speed", forward
    yield "speed with gradients", backward


def _same_effects(
    items: int, device: torch.device
) -> dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]]:
    """Name -> (ours, theirs), each of audio and rate, with knobs that take a gradient."""
    theirs = need("dasp_pytorch.functional")

    def knob(value: float) -> Tensor:
        return torch.full((items,), value, device=device, requires_grad=True)

    def middle(name: str) -> dict[str, Tensor]:
        space = EFFECTS[name].space
        return {
            k: knob(float(v)) for k, v in from_unit(space, torch.full((len(space),), 0.5)).items()
        }

    level, drive, room = middle("compressor"), middle("distortion"), middle("reverb")
    bands = [middle(name) for name in BANDS]

    def ours_eq(audio: Tensor, sample_rate: int) -> Tensor:
        for name, knobs in zip(BANDS, bands, strict=True):
            audio = twin(name)(audio, sample_rate, **knobs)
        return audio

    of_bands = [band[name] for band in bands for name in ("gain_db", "cutoff_frequency_hz", "q")]
    noise_bands = [knob(0.5)[:, None] for _ in range(24)]
    flat = {"knee_db": knob(0.1), "makeup_gain_db": knob(0.0)}
    return {
        "distortion": (
            lambda x, rate: twin("distortion")(x, rate, **drive),
            lambda x, rate: theirs.distortion(x, rate, drive["drive_db"]),
        ),
        "compressor": (
            lambda x, rate: twin("compressor")(x, rate, **level),
            lambda x, rate: theirs.compressor(x, rate, **level, **flat),
        ),
        "equaliser": (ours_eq, lambda x, rate: theirs.parametric_eq(x, rate, *of_bands)),
        "reverb": (
            lambda x, rate: twin("reverb")(x, rate, **room),
            lambda x, rate: theirs.noise_shaped_reverberation(
                x, rate, *noise_bands, room["mix"][:, None]
            ),
        ),
    }

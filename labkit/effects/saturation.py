"""Saturation curves by name, each with one depth: four without memory, and the hysteresis of tape.

Every curve without memory has slope `depth` at 0 and ends at 1, so a depth means the same on all.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from labkit.effects.kernels import Kernel
from labkit.effects.parameters import space

SPACE = space(depth=(1.0, 10.0))

# Hysteresis, in units of the saturation magnetisation. A shape of 1/3 gives the curve without lag
# slope 1 at 0, as `tanh` has.
SHAPE = 1.0 / 3.0
COERCIVITY = 0.3
COUPLING = 1e-3
# Longest change of the field in one Runge-Kutta step: a quarter of the shape.
STEP = SHAPE / 4.0


@dataclass(frozen=True)
class Curve:
    """One way to saturate, as functions of tensors; u is depth times the signal."""

    apply: Callable[[Tensor], Tensor] | None  # u -> output; None for a curve with memory
    invert: Callable[[Tensor], Tensor] | None = None  # output within -1..1 -> u, where that exists


def _cubic(u: Tensor) -> Tensor:
    held = u.clamp(-1.5, 1.5)
    return held - held**3 * (4.0 / 27.0)


def _arctan(u: Tensor) -> Tensor:
    return torch.atan(u * (math.pi / 2)) * (2 / math.pi)


def _undo_tanh(y: Tensor) -> Tensor:
    # Beyond this, float32 cannot tell the output from 1.
    return torch.atanh(y.clamp(-1 + 1e-6, 1 - 1e-6))


def _undo_arctan(y: Tensor) -> Tensor:
    return torch.tan(y.clamp(-1 + 1e-4, 1 - 1e-4) * (math.pi / 2)) * (2 / math.pi)


def _undo_cubic(y: Tensor) -> Tensor:
    # The middle root of u - 4/27 u^3 = y (Viete): three real ones for |y| <= 1.
    return 3.0 * torch.sin(torch.asin(y.clamp(-1.0, 1.0)) / 3.0)


CURVES = {
    "tanh": Curve(torch.tanh, _undo_tanh),
    "arctan": Curve(_arctan, _undo_arctan),
    "hard_clip": Curve(lambda u: u.clamp(-1.0, 1.0)),
    "cubic": Curve(_cubic, _undo_cubic),
    "hysteresis": Curve(None),
}
MEMORYLESS = tuple(name for name, curve in CURVES.items() if curve.apply is not None)


def check_curve(name: str) -> Curve:
    """The curve, or a ValueError that lists those there are."""
    if name not in CURVES:
        raise ValueError(f"curve must be one of {', '.join(CURVES)}, got {name!r}")
    return CURVES[name]


def saturate(
    audio: np.ndarray, depth: float, *, curve: str = "tanh", bias: float = 0.3
) -> np.ndarray:
    """Audio (..., samples), floats, through a curve of `CURVES` at a depth of 1..10.

    The same shape and dtype come back, within -1..1. Hysteresis starts demagnetised in every
    channel; `bias` (0..1, see `magnetise`) is for it alone.
    """
    SPACE["depth"].check(depth)
    function = check_curve(curve).apply
    is_float = np.issubdtype(audio.dtype, np.floating)
    if not is_float or audio.size == 0 or not np.isfinite(audio).all():
        raise ValueError(
            f"audio must be finite floats with at least one sample, got {audio.dtype} {audio.shape}"
        )
    if function is not None:
        return function(torch.from_numpy(np.ascontiguousarray(audio)) * depth).numpy()
    rows = [magnetise(row * depth, bias) for row in audio.reshape(-1, audio.shape[-1])]
    return np.stack(rows).reshape(audio.shape).astype(audio.dtype)


class TapeSaturationProcessor(nn.Module):
    """Saturation with a gradient to sound and depth: the last layer of a network."""

    def forward(
        self, audio: Tensor, depth_unit: Tensor, curve: str | Sequence[str] = "tanh"
    ) -> Tensor:
        """Audio (batch, channels, samples), every item through its curve at its own depth.

        `depth_unit` (batch,) in 0..1 maps to `SPACE`'s depth; curves are without memory.
        """
        names = [curve] * len(audio) if isinstance(curve, str) else list(curve)
        if audio.ndim != 3 or depth_unit.shape != audio.shape[:1] or len(names) != len(audio):
            raise ValueError(
                "audio must be (batch, channels, samples) with a depth and a curve for each item, "
                f"got {tuple(audio.shape)}, {tuple(depth_unit.shape)} and {len(names)}"
            )
        for name in names:
            if check_curve(name).apply is None:
                choices = ", ".join(MEMORYLESS)
                raise ValueError(
                    f"curve must be one of {choices}, got {name!r}: it has no gradient"
                )
        u = audio * SPACE.from_unit_batch(depth_unit[:, None])["depth"][:, None, None]
        if len(set(names)) == 1:
            return CURVES[names[0]].apply(u)
        return torch.stack([CURVES[name].apply(one) for name, one in zip(names, u, strict=True)])


def unit_of(depth: Tensor) -> Tensor:
    """Depth -> 0..1, on tensors; values out of range are held at its ends, without gradient."""
    knob = SPACE["depth"]
    return ((depth - knob.low) / (knob.high - knob.low)).clamp(0.0, 1.0)


def magnetise(field: NDArray[np.floating], bias: float = 0.3) -> NDArray[np.float64]:
    """The magnetisation (samples,) in -1..1 that a field, drive times signal, leaves on tape.

    The equation holds no time, only the path of the field, straight from sample to sample.
    It is solved along the field by Runge and Kutta's fourth-order rule in steps of at most `STEP`,
    which oversamples exactly where the field moves fast, from a demagnetised start. `bias` (0..1)
    says how much of the lag the recorder's bias removes: the reversible share of the magnetisation;
    1 leaves a curve without memory.

    Source: Jiles & Atherton 1986; in the form of Chowdhury, DAFx 2019, eq. 14 to 18. Ours
    integrates over the field instead of time, and models the bias by its effect on the lag.
    """
    field = np.ascontiguousarray(field, dtype=np.float64)
    out = np.empty_like(field)
    along_field.compiled(field, out, float(bias))
    return out


@Kernel
def slope(field, magnetisation, sign, bias):
    """The derivative of the magnetisation by the field, which moves in the direction of `sign`."""
    u = (field + COUPLING * magnetisation) / SHAPE
    if abs(u) < 1e-2:  # the difference of two large numbers below: its series is exact to 1e-9
        level, steepness = u / 3.0, 1.0 / 3.0 - u * u / 15.0
    else:
        coth = 1.0 / math.tanh(u)
        level, steepness = coth - 1.0 / u, 1.0 / (u * u) - coth * coth + 1.0
    lag = level - magnetisation
    reversible = bias * steepness / SHAPE
    # Domain walls move towards the curve without lag only; the other way nothing irreversible
    # moves.
    irreversible = 0.0
    if lag * sign > 0.0:
        irreversible = (1.0 - bias) * lag / ((1.0 - bias) * sign * COERCIVITY - COUPLING * lag)
    return (irreversible + reversible) / (1.0 - COUPLING * reversible)


@Kernel
def along_field(field, out, bias):
    """Fill `out` with the magnetisation at every sample of the field."""
    h, m = 0.0, 0.0
    for n in range(len(field)):
        way = field[n] - h
        sign = 1.0 if way > 0.0 else -1.0
        parts = math.ceil(abs(way) / STEP)
        for _ in range(parts):
            dh = way / parts
            first = slope(h, m, sign, bias)
            second = slope(h + 0.5 * dh, m + 0.5 * dh * first, sign, bias)
            third = slope(h + 0.5 * dh, m + 0.5 * dh * second, sign, bias)
            fourth = slope(h + dh, m + dh * third, sign, bias)
            m += dh / 6.0 * (first + 2.0 * second + 2.0 * third + fourth)
            h += dh
        h = field[n]
        out[n] = m

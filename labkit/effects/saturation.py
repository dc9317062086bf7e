"""Saturation curves by name, each with one depth: four without memory, and tape's hysteresis.

Every curve without memory has slope `depth` at 0 and ends at 1, so that a depth means the same on all of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from torch import Tensor, nn

from labkit.effects.parameters import Parameter, ParameterSpace

SPACE = ParameterSpace((Parameter("depth", "", 1.0, 10.0),))


@dataclass(frozen=True)
class Curve:
    """One way to saturate.

    Attributes:
        says: the formula, for tables; u is depth times the signal.
        bend: u -> output, on tensors; None for a curve with memory.
        straighten: output -> u where the curve can be undone, within -1..1; None elsewhere.
    """

    says: str
    bend: Callable[[Tensor], Tensor] | None
    straighten: Callable[[Tensor], Tensor] | None = None


def _cubic(u: Tensor) -> Tensor:
    held = u.clamp(-1.5, 1.5)
    return held - held**3 * (4.0 / 27.0)


def _arctan(u: Tensor) -> Tensor:
    return torch.atan(u * (math.pi / 2)) * (2 / math.pi)


def _clip(u: Tensor) -> Tensor:
    return u.clamp(-1.0, 1.0)


def _undo_tanh(y: Tensor) -> Tensor:
    # Beyond this, float32 cannot tell the output from 1.
    return torch.atanh(y.clamp(-1 + 1e-6, 1 - 1e-6))


def _undo_arctan(y: Tensor) -> Tensor:
    return torch.tan(y.clamp(-1 + 1e-4, 1 - 1e-4) * (math.pi / 2)) * (2 / math.pi)


def _undo_cubic(y: Tensor) -> Tensor:
    # The middle root of u - 4/27 u^3 = y (Viete): three real ones for |y| <= 1.
    return 3.0 * torch.sin(torch.asin(y.clamp(-1.0, 1.0)) / 3.0)


CURVES = {
    "tanh": Curve("tanh(u)", torch.tanh, _undo_tanh),
    "arctan": Curve("2/pi arctan(pi/2 u)", _arctan, _undo_arctan),
    "hard_clip": Curve("u held within -1..1", _clip),
    "cubic": Curve("u - 4/27 u^3 up to |u| = 1.5, then 1", _cubic, _undo_cubic),
    "hysteresis": Curve("Jiles and Atherton's tape, driven by u", None),
}
MEMORYLESS = tuple(name for name, curve in CURVES.items() if curve.bend is not None)


def check_curve(name: str) -> Curve:
    """The curve, or a ValueError that lists those there are."""
    if name not in CURVES:
        raise ValueError(f"curve must be one of {', '.join(CURVES)}, got {name!r}")
    return CURVES[name]


def saturate(
    audio: np.ndarray, depth: float, *, curve: str = "tanh", bias: float = 0.3
) -> np.ndarray:
    """A signal through one curve.

    Args:
        audio: (..., samples) float32 or float64, full scale 1.
        depth: 1..10.
        curve: a name in `CURVES`.
        bias: 0..1, of hysteresis only, see `labkit.effects.hysteresis.magnetise`.

    Returns:
        The same shape and dtype, within -1..1. Hysteresis starts demagnetised in every channel.

    Raises:
        ValueError: for an unknown curve, a depth or bias out of range, or audio that is empty or not finite.
    """
    SPACE["depth"].check(depth)
    chosen = check_curve(curve)
    if (
        not np.issubdtype(audio.dtype, np.floating)
        or audio.size == 0
        or not np.isfinite(audio).all()
    ):
        raise ValueError(
            f"audio must be finite floats with at least one sample, got {audio.dtype} {audio.shape}"
        )
    if chosen.bend is not None:
        return chosen.bend(torch.from_numpy(np.ascontiguousarray(audio)) * depth).numpy()
    magnetise = import_module(
        "labkit.effects.hysteresis"
    ).magnetise  # numba, only where it is needed
    rows = [magnetise(row * depth, bias=bias) for row in audio.reshape(-1, audio.shape[-1])]
    return np.stack(rows).reshape(audio.shape).astype(audio.dtype)


class TapeSaturationProcessor(nn.Module):
    """Saturation with a gradient to sound and depth: the last layer of a network that is trained through audio."""

    def forward(
        self, audio: Tensor, depth_unit: Tensor, curve: str | Sequence[str] = "tanh"
    ) -> Tensor:
        """Every item of a batch through its curve at its own depth.

        Args:
            audio: (batch, channels, samples), full scale 1.
            depth_unit: (batch,) in 0..1, travelling `SPACE`'s depth from low to high.
            curve: one name for all, or one for each item; without memory.

        Returns:
            The shape of `audio`.

        Raises:
            ValueError: if shapes do not fit, or a curve is unknown or has memory (and so no gradient here).
        """
        names = [curve] * len(audio) if isinstance(curve, str) else list(curve)
        if audio.ndim != 3 or depth_unit.shape != audio.shape[:1] or len(names) != len(audio):
            raise ValueError(
                f"audio must be (batch, channels, samples) with a depth and a curve for each item, "
                f"got {tuple(audio.shape)}, {tuple(depth_unit.shape)} and {len(names)}"
            )
        with_memory = [name for name in names if check_curve(name).bend is None]
        if with_memory:
            raise ValueError(
                f"curve must be one of {', '.join(MEMORYLESS)}, got {with_memory[0]!r}: it has no gradient"
            )
        u = audio * depth_of(depth_unit)[:, None, None]
        if len(set(names)) == 1:
            return CURVES[names[0]].bend(u)
        return torch.stack([CURVES[name].bend(one) for name, one in zip(names, u, strict=True)])


def depth_of(unit: Tensor) -> Tensor:
    """0..1 -> depth, on tensors, linear as `SPACE` is."""
    knob = SPACE["depth"]
    return knob.low + unit * (knob.high - knob.low)


def unit_of(depth: Tensor) -> Tensor:
    """Depth -> 0..1, on tensors; what lies outside the range is held at its ends, with no gradient."""
    knob = SPACE["depth"]
    return ((depth - knob.low) / (knob.high - knob.low)).clamp(0.0, 1.0)

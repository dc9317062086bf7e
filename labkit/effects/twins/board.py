"""Chains of torch pedals in batches: every item its own pedals, order and knobs, in few launches."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from inspect import signature

import numpy as np
import torch
from torch import Tensor

from labkit.effects.parameters import ParameterSpace
from labkit.effects.twins import twin
from labkit.effects.twins.common import check_audio, walkable
from labkit.signal.files import check_audio as check_numpy

Knobs = Mapping[str, Tensor | float]
Steps = Iterable[tuple[str, Knobs]]


def render_chains(audio: Tensor, sample_rate: int, chains: Sequence[Steps]) -> Tensor:
    """Every item through its own chain.

    Each launch runs one pedal on all items that wait for it at once, so that chains of at most K pedals over a shelf of
    P take at most K * P launches however many they are, and as many as pedals when all orders agree.

    Args:
        audio: (batch, channels, samples), dry.
        sample_rate: Hz.
        chains: one for every item: a `Chain`, or pairs of a pedal's name and its knobs in physical units, numbers or
            0-dimensional tensors; gradients flow to those.

    Returns:
        (batch, channels, samples), a new tensor; an item with an empty chain is a copy.

    Raises:
        ValueError: if there are not as many chains as items, a knob is missing or unknown, or a twin refuses a value.
        TypeError: for a knob that is no number.
        KeyError: for a pedal without a twin.
    """
    check_audio(audio, sample_rate)
    if len(chains) != len(audio):
        raise ValueError(
            f"chains must hold one chain for each of {len(audio)} items, got {len(chains)}"
        )
    left = [list(chain) for chain in chains]
    out = walkable(audio).clone()
    for name, items in launches([[name for name, _ in steps] for steps in left]):
        knobs = stack_knobs([left[item].pop(0)[1] for item in items], audio)
        try:
            signature(twin(name)).bind(out, sample_rate, **knobs)
        except TypeError as error:
            raise ValueError(f"{name}: {error}") from None
        if len(items) == len(audio):
            out = twin(name)(out, sample_rate, **knobs)
        else:
            index = torch.tensor(items, device=audio.device)
            out = out.index_copy(0, index, twin(name)(out[index], sample_rate, **knobs))
    return out


def render_numpy(chain: Steps, audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """One chain on one clip: (channels, samples) or (samples,) -> (channels, samples) float32. Raises ValueError."""
    checked = torch.from_numpy(check_numpy(audio, sample_rate))
    with torch.no_grad():
        return render_chains(checked[None], sample_rate, [chain])[0].numpy()


def launches(orders: Sequence[Sequence[str]]) -> list[tuple[str, list[int]]]:
    """Which pedal runs on which items, step by step.

    Of the pedals that the items with most left wait for, the one that most items wait for comes next. After at most as
    many launches as there are pedals all the longest have got shorter; by the number waiting alone, a few could stay
    behind for long.

    Args:
        orders: the pedals of every item, first pedal first.

    Returns:
        (pedal, items) pairs; following them in order carries out every item's own order.
    """
    left = [list(order) for order in orders]
    plan = []
    while any(left):
        waiting, longest = Counter(order[0] for order in left if order), max(map(len, left))
        name = max(
            sorted({order[0] for order in left if len(order) == longest}), key=waiting.__getitem__
        )
        items = [i for i, order in enumerate(left) if order and order[0] == name]
        for item in items:
            left[item].pop(0)
        plan.append((name, items))
    return plan


def stack_knobs(rows: Sequence[Knobs], audio: Tensor) -> dict[str, Tensor]:
    """The knobs of one pedal for many items: name -> (items,), at least float32, on the device of `audio`."""
    names = rows[0].keys()
    for row in rows:
        if row.keys() != names:
            raise ValueError(f"knobs must be {sorted(names)} for every item, got {sorted(row)}")
    stacked = {}
    for name in names:
        values = [row[name] for row in rows]
        try:
            stacked[name] = _stacked(values, audio)
        except (TypeError, ValueError):
            raise TypeError(f"{name} must be a number for every item, got {values}") from None
    return stacked


def _stacked(values: Sequence[Tensor | float], audio: Tensor) -> Tensor:
    """(items,), put together where the values are: thousands of small copies to a GPU would take longer than it."""
    home = next((value.device for value in values if isinstance(value, Tensor)), None)
    dtype = torch.promote_types(
        audio.dtype, torch.float32
    )  # half precision moves a delay by dozens of samples
    if home is None:
        return torch.tensor(values, dtype=dtype, device=audio.device)
    return torch.stack([torch.as_tensor(value, dtype=dtype, device=home) for value in values]).to(
        audio.device
    )


def from_unit(space: ParameterSpace, unit: Tensor) -> dict[str, Tensor]:
    """Physical knobs from unit values, with gradient: the torch side of `ParameterSpace.from_unit`.

    Args:
        space: of the pedal.
        unit: (..., n_params) in 0..1.

    Returns:
        Name -> (...).

    Raises:
        ValueError: if the last axis does not hold one value per knob.
    """
    if unit.shape[-1] != len(space):
        raise ValueError(
            f"unit must hold {len(space)} values in its last axis, got {tuple(unit.shape)}"
        )
    values = {}
    for knob, u in zip(space.parameters, unit.unbind(-1), strict=True):
        is_log = knob.scale == "log"
        values[knob.name] = (
            knob.low * (knob.high / knob.low) ** u
            if is_log
            else knob.low + u * (knob.high - knob.low)
        )
    return values

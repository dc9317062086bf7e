"""The pedal board: what is on screen is what is rendered, and the chain's JSON and code say the same."""

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step
from labkit.effects.registry import EFFECTS, effect
from labkit.lab.board import INPUT_DBFS, PedalBoard
from labkit.signal.units import set_rms

RATE = 22050
TONE = np.sin(2 * np.pi * 220 * np.arange(RATE // 2) / RATE).astype(np.float32)[None]
DRIVE = Step("distortion", {"drive_db": 20.0})
LOW = Step(
    "lowpass",
    {name: effect("lowpass").space[name].from_unit(0.3) for name in effect("lowpass").space.names},
)


@pytest.fixture
def board():
    return PedalBoard(TONE, RATE, Chain((DRIVE, LOW)))


def test_it_renders_the_pedals_that_are_on_in_their_order(board):
    dry = set_rms(TONE, INPUT_DBFS)
    np.testing.assert_array_equal(board.audio(), Chain((DRIVE, LOW)).render(dry, RATE))
    steps = board.pedals.steps
    board.pedals.steps = [steps[1], {**steps[0], "on": False}]  # as the browser sends it
    assert board.chain == Chain((LOW,))
    assert Chain.from_json(board.pedals.json) == board.chain
    assert "Lowpass" in board.pedals.code
    assert "Distortion" not in board.pedals.code


def test_every_pedal_can_be_added_with_its_knobs_in_the_middle(board):
    for pedal in board.pedals.shelf:
        params = {knob["name"]: knob["start"] for knob in pedal["knobs"]}
        board.pedals.steps = [{"effect": pedal["name"], "params": params, "on": True}]
        assert board.pedals.message == ""
        assert np.isfinite(board.audio()).all()
    assert [pedal["name"] for pedal in board.pedals.shelf] == list(EFFECTS)


def test_a_preset_is_loaded_and_a_bad_one_is_refused_in_words(board):
    chain = Chain((LOW, DRIVE))
    board._load(None, {"load": chain.to_json()}, None)
    assert board.chain == chain
    sound = bytes(board.player.media)
    board._load(None, {"load": "{"}, None)
    assert board.pedals.message
    board.pedals.steps = [{"effect": "distortion", "params": {"drive_db": 1e9}, "on": True}]
    assert "drive_db" in board.pedals.message
    assert bytes(board.player.media) == sound  # the last good chain still plays
    board.pedals.steps = []
    assert board.pedals.message == ""
    assert board.chain == Chain()

"""The pedal board renders what is on screen; a game scores you and the network on the same chains."""

import json
from pathlib import Path

import numpy as np
import pytest

from labkit.effects.chain import Chain, Step
from labkit.effects.faust import program
from labkit.effects.registry import effect
from labkit.lab.board import INPUT_DBFS, Duel, PedalBoard
from labkit.signal.units import set_rms
from labkit.systems import pedal_order

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


def test_a_preset_is_loaded_and_a_bad_one_is_refused_in_words(board):
    chain = Chain((LOW, DRIVE))
    board._hear(None, {"load": chain.to_json()}, None)
    assert board.chain == chain
    sound = bytes(board.player.media)
    for bad in ("{", '[{"effect": "fuzz", "params": {}}]', chain.to_json().replace("20.0", "40.0")):
        board.pedals.message = ""
        board._hear(None, {"load": bad}, None)
        assert board.pedals.message
        assert board.chain == chain
    board.pedals.steps = [{"effect": "distortion", "params": {"drive_db": 1e9}, "on": True}]
    assert "drive_db" in board.pedals.message
    assert bytes(board.player.media) == sound  # the last good chain still plays
    board.pedals.steps = []
    assert board.pedals.message == ""
    assert board.chain == Chain()


def test_it_is_written_as_a_program_and_a_card_and_never_over_another(board, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("board", "board_2"):
        board._hear(None, {"export": "faust"}, None)  # as its button sends it
        path = Path("output/board") / f"{name}.dsp"
        assert board.pedals.message == f"wrote {path}"
        assert path.read_text() == program(board.chain)
    card, _ = board.export("card", out=tmp_path)
    assert card == tmp_path / "board.card.svg"
    assert "input: -20 dBFS RMS" in card.read_text()
    with pytest.raises(ValueError, match="kinds must be among faust, lv2, vst3, card, got 'vst2'"):
        board.export("vst2")
    with pytest.raises(ValueError, match="kinds must be among faust, lv2, vst3, card, got none"):
        board.export()
    monkeypatch.setenv("PATH", "")
    said = []
    board.pedals.observe(lambda change: said.append(change["new"]), "message")
    for _ in range(2):  # each time the browser is told anew
        board._hear(None, {"export": "vst3"}, None)
    assert said == 2 * ["writing ...", said[-1]]
    assert "apt-get install faust" in said[-1]


def test_another_chain_of_the_same_pedals_moves_the_sliders(board, monkeypatch):
    told = []
    monkeypatch.setattr(board.pedals, "send", told.append)
    board.chain = Chain((Step("distortion", {"drive_db": 9.0}), LOW))
    assert told == [{"loaded": True}]


def test_a_game_scores_both_and_is_kept_beside_earlier_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = pedal_order.load()
    game = Duel(model, n=4, seed=2)
    assert "Round 1 of 4" in repr(game)
    first = bytes(game.wet.media)
    assert game.answer(game.truth[0])
    assert bytes(game.wet.media) != first  # the next clip plays
    assert game.score[0] == 1
    game.answer(("reverb",) if game.truth[1] != ("reverb",) else ())
    game.buttons[-1].click()  # as in the browser
    assert len(game.yours) == 3
    game.answer(game.truth[3])
    assert game.is_over
    assert all(button.disabled for button in game.buttons)
    right = sum(a == b for a, b in zip(game.network, game.truth, strict=True))
    assert game.score[1] == right >= 2  # the shipped network names most chains
    with pytest.raises(ValueError, match="this game had 4 rounds"):
        game.answer(())
    again = Duel(model, n=1, seed=3)
    again.answer(())
    kept = json.loads((tmp_path / "output/duels.json").read_text())
    assert [(one["seed"], one["rounds"], one["network"]) for one in kept] == [
        (2, 4, right),
        (3, 1, again.score[1]),
    ]
    last = Duel(model, n=1, seed=4)
    for text in ('{"mine": 1}', "[{"):
        (tmp_path / "output/duels.json").write_text(text)
        last.yours.clear()
        last.answer(())
        assert (tmp_path / "output/duels.json").read_text() == text

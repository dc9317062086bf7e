"""You against the network: both are scored on the same chains, and a finished game is kept."""

import json

import pytest

from labkit.lab.duel import Duel
from labkit.systems import pedal_order


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

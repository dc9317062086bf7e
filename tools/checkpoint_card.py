"""Write the card of a shipped checkpoint: hash, size and, where the system has one, fixed score, with how it was made.

Run: python tools/checkpoint_card.py SYSTEM COMMAND COMMIT HARDWARE HOURS
"""

import hashlib
import importlib
import json
import sys
from dataclasses import asdict

from labkit.signal.paths import replace_text

# The room (or module) with the checkpoint, where it is examined, and which of the room's checkpoints it is.
SYSTEMS = {
    "text": ("systems.text_to_effects", "systems.text_to_effects.evaluate"),
    "style": ("systems.blackbox.style", "systems.blackbox.style_evaluate"),
    "blackbox_distortion": ("systems.blackbox.tasks", "systems.blackbox.evaluate", "distortion"),
    "blackbox_speech": ("systems.blackbox.tasks", "systems.blackbox.evaluate", "speech"),
    "blackbox_mastering": ("systems.blackbox.tasks", "systems.blackbox.evaluate", "mastering"),
}


def main(system: str, command: str, commit: str, hardware: str, hours: str) -> None:
    """Examine the shipped checkpoint of a system and write its card beside it."""
    if system not in SYSTEMS:
        raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, got {system!r}")
    room, judge = (importlib.import_module(f"labkit.{name}") for name in SYSTEMS[system][:2])
    examine = getattr(judge, "fixed_score", None)
    path = room.shipped_path(*SYSTEMS[system][2:])
    model = room.load(path)
    card = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "command": command,
        "commit": commit,
        "hardware": hardware,
        "hours": float(hours),
        **({"fixed_score": examine(model)} if examine else {}),
        "config": asdict(model.config),
    }
    replace_text(path.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    print(json.dumps({k: v for k, v in card.items() if k != "config"}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])

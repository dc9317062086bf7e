"""Write data/checkpoints/pedal_order.json: hash, size and fixed score of the shipped checkpoint, with how it was made.

Run: python tools/checkpoint_card.py COMMAND COMMIT HARDWARE HOURS
"""

import hashlib
import json
import sys
from dataclasses import asdict

from labkit.signal.paths import replace_text
from labkit.systems import pedal_order
from labkit.systems.pedal_order.evaluate import fixed_score


def main(command: str, commit: str, hardware: str, hours: str) -> None:
    """Examine the shipped checkpoint and write its card."""
    path = pedal_order.shipped_path()
    model = pedal_order.load(path)
    card = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "parameters": sum(p.numel() for p in model.parameters()),
        "command": command,
        "commit": commit,
        "hardware": hardware,
        "hours": float(hours),
        "fixed_score_of_48": fixed_score(model),
        "config": asdict(model.config),
    }
    replace_text(path.with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    print(json.dumps({k: v for k, v in card.items() if k != "config"}, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])

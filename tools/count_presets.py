"""Count pedals and their pairwise order in a JSON-lines file of real presets; writes labkit/effects/preset_counts.json.

Each line: {"source", "bank", "chain": [{"unit", "cat"}, ...]}. Sound-effect banks are left out.
Run: python tools/count_presets.py CHAINS.jsonl
"""

import json
import sys
from collections import Counter
from pathlib import Path

KINDS = {"comp": "compressor", "drive": "distortion", "fuzz": "distortion", "delay": "delay", "reverb": "reverb",
         "eq": "peak", "gate": "noise_gate"}  # fmt: skip
MUSICAL_BANKS = {"Default.rkrb", "Extra.rkrb", "Extra1.rkrb"}


def pedal(unit: str, kind: str) -> str | None:
    """Our name for a preset's unit, or None where we have no such pedal."""
    if kind == "mod":
        return next(
            (
                ours
                for part, ours in (("chor", "chorus"), ("phas", "phaser"))
                if part in unit.lower()
            ),
            None,
        )
    return KINDS.get(kind)


def main(path: str) -> None:
    """Count first occurrences of each kind and which of two came first."""
    present: Counter[str] = Counter()
    before: Counter[str] = Counter()
    n_chains = 0
    for line in Path(path).read_text().splitlines():
        row = json.loads(line)
        if "rakarrack" in row["source"] and row["bank"] not in MUSICAL_BANKS:
            continue
        names = [pedal(step["unit"], step["cat"]) for step in row["chain"]]
        names = list(dict.fromkeys(name for name in names if name))
        n_chains += 1
        present.update(names)
        before.update(f"{a} {b}" for i, a in enumerate(names) for b in names[i + 1 :])
    counts = {
        "n_chains": n_chains,
        "present": dict(sorted(present.items())),
        "before": dict(sorted(before.items())),
    }
    target = Path(__file__).parents[1] / "labkit" / "effects" / "preset_counts.json"
    target.write_text(json.dumps(counts, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])

"""Broken, lying and odd files end in an answer or in one line of error, and nothing else."""

import re
import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "hostile.py"


def test_one_file_of_every_kind_through_the_cheapest_commands():
    commands = "chain", "export", "text --start-from", "chain --checkpoint"
    options = [option for command in commands for option in ("--command", command)]
    done = subprocess.run(
        [sys.executable, TOOL, "--n-files", "1", *options], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert int(re.search(r"0 of (\d+) runs are not right", done.stdout)[1]) >= 20

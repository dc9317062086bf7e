"""How `make lab` serves: the whole checkout, opened on notebook 00; terminals find `labkit`."""

import os
from pathlib import Path

c = get_config()  # noqa: F821 - JupyterLab defines it
c.ServerApp.root_dir = str(Path(__file__).resolve().parents[2])
c.LabApp.default_url = "/lab/tree/notebooks/00_start_here.ipynb"
# Without a terminal of its own the server would start login shells, and those forget the path.
c.ServerApp.terminado_settings = {"shell_command": [os.environ.get("SHELL", "bash")]}

"""Fixtures that every room's tests may ask for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import settings

from labkit.signal.paths import real_data_dir

# The same examples in every run, and no deadline: a busy machine is slow, not wrong.
settings.register_profile("labkit", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("labkit")

# What the files are about that take longer than twenty seconds.
_LONG = "blackbox cli cloner codec exercises faust hostile lab match parity readme saturation shipped style synth training vital"


def pytest_collection_modifyitems(items):
    """Long files come first, so that all processes end at about the same time."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in _LONG.split())


@pytest.fixture(params=["cpu", "cuda"])
def device(request):
    """The test runs once on each device of this machine."""
    import torch

    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here: the CPU run of this test stands alone")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def real_data():
    """The folder of real recordings, which do not ship with the repository."""
    folder = real_data_dir()
    if folder is None:
        pytest.skip("no real recordings: set LABKIT_REAL_DATA to a folder that holds them")
    return folder


@pytest.fixture
def kill_at_checkpoint():
    """A function (script, its test's file, run folder, *arguments) that kills the script at its first checkpoint.

    The script finds the test's own module, by name, and its arguments in ``sys.argv``, the run folder first.
    """

    def run(script: str, beside: str, folder: Path, *arguments: object) -> None:
        environment = os.environ | {"PYTHONPATH": str(Path(beside).parent)}
        command = [sys.executable, "-c", script, *map(str, (folder, *arguments))]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 120
        while not (folder / "checkpoint.pt").exists():
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < deadline, "no checkpoint within two minutes"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()

    return run


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.fixture
def payload(tmp_path):
    """What shows that a file was unpickled: then its `folder` is there."""
    return Payload(tmp_path / "ran")

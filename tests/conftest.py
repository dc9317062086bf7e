"""Fixtures that every room's tests may ask for."""

import pytest
from hypothesis import settings

from labkit.signal.paths import real_data_dir

# The same examples in every run, and no deadline: a busy machine is slow, not wrong.
settings.register_profile("labkit", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("labkit")


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

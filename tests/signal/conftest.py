"""What several tests of this room need."""

import pytest

from labkit.signal.sampled import SoundFontMissingError, find_soundfont


@pytest.fixture(scope="session")
def soundfont():
    """The FluidR3 bank, or a skip."""
    try:
        return find_soundfont()
    except SoundFontMissingError as error:
        pytest.skip(f"no soundfont: {error}")

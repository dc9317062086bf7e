"""What an adapter says where its library is missing: a command that mends it."""

import re
import sys
from pathlib import Path

import pytest

from labkit.signal import optional

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_names_a_package_that_the_lock_or_an_extra_pins():
    files = (ROOT / "labkit").rglob("*.py")
    sources = "\n".join(path.read_text(encoding="utf-8") for path in files)
    modules = set(re.findall(r"\bneed\(\"(\w+)", sources))
    assert len(modules) > 15
    pins = (ROOT / "requirements.lock").read_text() + (ROOT / "pyproject.toml").read_text()
    pinned = set(re.findall(r"^ *\"?([\w.-]+)==", pins, re.MULTILINE))
    packages = {optional.PIP_NAMES.get(module, module).replace("_", "-") for module in modules}
    assert packages <= pinned


def test_the_package_that_is_missing_is_named_and_not_the_one_that_asks_for_it(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("sklearn.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"sklearn\.svm is needed here .*: pip install scikit-learn$"
    ):
        optional.need("sklearn.svm")
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    for name in [
        name for name in sys.modules if name.startswith(("torch.utils.tensorboard", "tensorboard."))
    ]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ModuleNotFoundError, match=r"pip install tensorboard$"):
        optional.need("torch.utils.tensorboard")

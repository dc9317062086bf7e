"""Libraries that only one adapter needs: imported there, with the command that installs them."""

import importlib
from types import ModuleType

PIP_NAMES = {
    "fluidsynth": "pyfluidsynth",
    "dac": "descript-audio-codec",
    "lightning_fabric": "lightning-fabric",
    "sklearn": "scikit-learn",
    "visqol": "visqol-python",
}


def need(module: str) -> ModuleType:
    """Import a module by its import name.

    Raises ModuleNotFoundError naming the missing package and the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # torch.utils.tensorboard exists, and what it lacks is tensorboard.
        missing = (error.name or module).split(".")[0]
        package = PIP_NAMES.get(missing, missing)
        raise ModuleNotFoundError(
            f"{module} is needed here and not installed: pip install {package}"
        ) from error

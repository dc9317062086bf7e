"""Style transfer: an equaliser and a compressor treat a recording like another one.

Source: Steinmetz, Bryan and Reiss, JAES 70(9), 2022 (DeepAFx-ST).
"""

from labkit.systems.style.model import Config, Transfer, build, predict, write
from labkit.systems.system import System

_DEFAULT = Config()
SYSTEM = System(
    name="style",
    # An equal number of renders each: SPSA takes three for an example, a proxy is taught with half.
    presets={
        "autodiff": _DEFAULT,
        "spsa": _DEFAULT.but(gradient="spsa", steps=800),
        "proxy": _DEFAULT.but(gradient="proxy", steps=1200),
        "regression": _DEFAULT.but(gradient="regression"),
    },
    build=build,
    module=__name__,
    checkpoints={"autodiff": "style"},
)
load, save = SYSTEM.load, SYSTEM.save

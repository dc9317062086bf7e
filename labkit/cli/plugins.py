"""`labkit plugins`: what is installed, and what the host measures of it."""

from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional


@dataclass(frozen=True)
class Plugins:
    """List the plug-ins that can be played: the lab's pedals, VST3, LV2 and VST2; or show the knobs of some.

    Attributes:
        names: open these, by name, file or URI, and show their knobs; all are listed where none is named.
        kinds: list these kinds.
        check: open every plug-in of the list in a process of its own, and say what was measured.
        timeout_s: seconds that a plug-in may take to open, and to answer.
    """

    names: Positional[tuple[str, ...]] = ()
    kinds: tuple[Literal["builtin", "VST3", "LV2", "VST2"], ...] = (
        "builtin",
        "VST3",
        "LV2",
        "VST2",
    )
    check: bool = False
    timeout_s: float = 20.0

    def run(self) -> int:
        """Print the table; 1 where a plug-in that was named, or is checked, does not open."""
        if self.names:
            return max(self._show(name) for name in self.names)
        from labkit.effects.hosts.listing import installed_plugins

        status = 0
        for info in installed_plugins():
            if info.kind in self.kinds:
                says = "" if info.usable else f"   not usable: {info.why_not}"
                if self.check and info.usable:
                    opens, found = self._measured(
                        info.name if info.kind == "builtin" else info.where
                    )
                    says, status = f"   {found}", status or int(not opens)
                print(f"{info.kind:8s} {info.name:26s} {info.where}{says}", flush=True)
        return status

    def _measured(self, name: str) -> tuple[bool, str]:
        from labkit.effects.hosts import PluginError, open_plugin

        try:
            with open_plugin(name, timeout_s=self.timeout_s) as plugin:
                return True, plugin.facts()
        except PluginError as error:
            return False, str(error)

    def _show(self, name: str) -> int:
        from labkit.effects.hosts import open_plugin

        with open_plugin(name, timeout_s=self.timeout_s) as plugin:
            print(f"{plugin.name} ({plugin.info.kind}, {plugin.info.where}): {plugin.facts()}")
            for knob in plugin.parameters:
                travel = f"{knob.low:g} to {knob.high:g} {knob.unit}".rstrip()
                steps = f", {knob.steps} positions" if knob.steps else ""
                print(
                    f"  {knob.name:26s} {travel}{steps}   rests at {knob.default_unit:.3f} of 0..1"
                )
        return 0

"""Shared by the tests and by nbval's run over the notebooks."""

import os

os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # read when torch is first imported: spinning threads crawl

# Players and widgets are new in every run; stderr holds progress bars and paths of the machine.
_NEVER_COMPARED = (
    "text/html",
    "stderr",
    "application/javascript",
    "application/vnd.jupyter.widget-view+json",
    "application/vnd.jupyter.widget-state+json",
)


def pytest_collectstart(collector):
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += _NEVER_COMPARED

"""What the adapters of all synthesizers share: being closed, a process that plays, and checks before it is asked."""

from typing import Self

from labkit.effects.hosts.worker import Worker
from labkit.effects.synths.spec import SynthSpec, Values


class Hosted:
    """A synthesizer in a process of its own; in this one where `close` is overridden. A context manager.

    Attributes:
        spec: the parameter set that it plays.
    """

    spec: SynthSpec
    _worker: Worker

    def close(self) -> None:
        """End the process."""
        self._worker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, values: Values, seconds: float) -> None:
        self.spec.check(values)
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds}")

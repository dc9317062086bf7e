"""The torch pedals' evaluation."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labkit.cli.options import Evaluation

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class EvaluateTwins(Evaluation):
    """The torch pedals beside pedalboard's: parity, speed, memory, and chains whose knobs are searched.

    Attributes:
        n_fits: five-pedal chains whose knobs are searched.
        memory_bytes: bound of the batches on which the growth of the cost is measured.
    """

    system: ClassVar[str] = "twins"

    n_fits: int = 10
    memory_bytes: int = 4 * 2**30

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems import twins

        return twins.evaluate(n_fits=self.n_fits, memory_bytes=self.memory_bytes, seed=self.seed)

"""The evaluation of gradient estimators."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from labkit.cli.options import Evaluation

if TYPE_CHECKING:
    from labkit.measure.score import Row


@dataclass(frozen=True)
class EvaluateGradients(Evaluation):
    """Gradient estimators through real effects: cosine to the exact gradient, bias, spread, renders, time.

    Attributes:
        n: problems where chance is measured.
        n_eps: problems where the turn of the knobs is swept.
        n_descents: problems that each estimator descends on.
        renders: spent by every descent.
        proxy_steps: of the proxy's training.
    """

    system: ClassVar[str] = "gradients"

    n: int = 48
    n_eps: int = 12
    n_descents: int = 8
    renders: int = 126
    proxy_steps: int = 100

    def rows(self) -> "list[Row]":
        """Every figure of the results table."""
        from labkit.systems.blackbox import zoo

        sizes = {
            name: getattr(self, name)
            for name in ("n", "n_eps", "n_descents", "renders", "proxy_steps")
        }
        return zoo.evaluate(**sizes, seed=self.seed)

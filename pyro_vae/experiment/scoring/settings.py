"""Settings of scoring: samples, noise, and the proposal of z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.evaluate import DefensiveGuide, JointDefensiveGuide, WidenedGuide
from pyro_vae.experiment.load_run import Run
from pyro_vae.settings.scoring import ScoringOptions

__all__ = ["ScoreSettings"]


@dataclass(frozen=True)
class ScoreSettings:
    """Settings that determine the scores of the rows of a run.

    Args:
        num_samples: Samples of z for each row.
        seed: Seed of the noise.
        widen: Factor by which the proposal is wider than the guide; 1 uses the guide unchanged.
        defensive: Share of the samples drawn from the prior.

    Raises:
        InputError: If a value is out of range.
    """

    num_samples: int = 5000
    seed: int = 0
    widen: float = 1.0
    defensive: float = 0.0

    def __post_init__(self) -> None:
        check_integer(self.num_samples, "--num-samples")
        check_integer(self.seed, "--seed", minimum=0, maximum=2**31 - 1)
        check_positive(self.widen, "--widen")
        check(0 <= self.defensive < 1, f"Expected --defensive in [0, 1), a share; got {self.defensive}.")

    @classmethod
    def of(cls, options: ScoringOptions) -> ScoreSettings:
        """Return the settings of a command line."""
        return cls(options.num_samples, options.seed, options.widen, options.defensive)

    def proposal(self, run: Run) -> Any:
        """Return the program from which z is drawn."""
        guide: Any = run.guide if self.widen == 1 else WidenedGuide(run.guide, self.widen)
        if not self.defensive:
            return guide
        if run.config.model.layers or run.config.model.part("context").is_partial:
            return JointDefensiveGuide(guide, run.model, self.defensive)
        return DefensiveGuide(guide, run.model.prior, self.defensive)

"""Settings of what the guide sees of x in training."""

from __future__ import annotations

from typing import Any, Literal

from pyro_vae._checks import check
from pyro_vae.settings.checks import positive
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import DataFacts, Part, load

__all__ = ["CorruptionPart"]

_MODULE = "pyro_vae.networks.corruption"


class CorruptionPart(
    Part,
    kind="corrupt",
    default="none",
    help="What the guide sees of x in training, while the model scores x as it is (denoising)",
):
    """A corruption, made from a scale and a fill for each column."""

    def seen(self) -> str:
        """Return a clause on what the guide sees in training and in evaluation; empty where that is x itself."""
        return ""


class Unchanged(CorruptionPart, name="none"):
    """X itself."""

    def make(self, *made_from: Any, **more: Any) -> None:
        """Return None: nothing is corrupted."""


class Corrupting(CorruptionPart):
    """A corruption of some level."""

    corruption_level: float = setting(
        0.3,
        "Standard deviation of the noise, in data units of images and in standard deviations of each column of tables; "
        "or the share of the entries that are replaced.",
        check=positive,
    )
    evaluation_input: Literal["corrupted", "clean"] = setting(
        "corrupted",
        "What the guide sees in validation and evaluation: x corrupted by noise that is a function of the row, or x "
        "itself. Either way bounds and log p(x) are those of the guide that is evaluated.",
    )

    def check(self, config: Any) -> None:
        """Check that the guide alone sees x corrupted."""
        check(
            config.model.prior != "vampprior",
            f"Expected another prior than vampprior with --corrupt {self.name}: it is made of the guide, so that p(z) "
            "would be corrupted too. Leave out --prior.",
        )

    def seen(self) -> str:
        """Return a clause on what the guide sees in training and in evaluation."""
        return (
            f"{self.name} corruption, level {self.corruption_level:g}, in training; {self.evaluation_input} rows in "
            "evaluation"
        )

    def make(self, *made_from: Any, **more: Any) -> Any:
        """Return the corruption."""
        return load(self.target)(self.corruption_level, *made_from)


class Share(Corrupting):
    """A corruption of a share of the entries."""

    def check(self, config: Any) -> None:
        """Check that some entries are left."""
        super().check(config)
        check(
            self.corruption_level < 1,
            f"Expected --corruption-level below 1 with --corrupt {self.name}, a share of the entries; got "
            f"{self.corruption_level:g}.",
        )


class Gaussian(Corrupting, name="gaussian", target=f"{_MODULE}:gaussian_noise", formula="x + level scale e"):
    """Normal noise is added."""


class Masking(Share, name="masking", target=f"{_MODULE}:masking"):
    """Entries become 0, in tables their column's mean."""


class SaltAndPepper(Share, name="salt-and-pepper", target=f"{_MODULE}:salt_and_pepper"):
    """Entries become 0 or 1."""

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Check that 0 and 1 are values that the columns can have."""
        check(
            facts.one_unit or facts.error == "cross-entropy",
            "Expected images, or zeros and ones, for --corrupt salt-and-pepper, which sets entries to 0 and 1; got a "
            "table. Choose --corrupt gaussian or masking.",
        )
        return {}

"""Settings of the corruption of the guide's input in training."""

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
    help="Corruption of the guide's input in training; the model scores the clean x (denoising)",
):
    """A corruption. Its constructor takes a scale and a fill value for each column."""

    def seen(self) -> str:
        """Describe the guide's input in training and in evaluation; empty without corruption."""
        return ""


class Unchanged(CorruptionPart, name="none"):
    """No corruption."""

    def make(self, *made_from: Any, **more: Any) -> None:
        """Return None."""


class Corrupting(CorruptionPart):
    """A corruption with a level."""

    corruption_level: float = setting(
        0.3,
        "Standard deviation of the noise: in data units for images, in standard deviations of each column for tables. "
        "For masking and salt-and-pepper, the share of the entries that are replaced.",
        check=positive,
    )
    evaluation_input: Literal["corrupted", "clean"] = setting(
        "corrupted",
        "Input of the guide in validation and evaluation: x corrupted by noise that is a function of the row, or the "
        "clean x. Bounds and log p(x) refer to the guide with this input.",
    )

    def check(self, config: Any) -> None:
        """Check that only the input of the guide is corrupted."""
        check(
            config.model.prior != "vampprior",
            f"Expected another prior than vampprior with --corrupt {self.name}: it is a mixture of guides, so p(z) "
            "would be corrupted too. Leave out --prior.",
        )

    def seen(self) -> str:
        """Describe the guide's input in training and in evaluation."""
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
        """Check that not all entries are replaced."""
        super().check(config)
        check(
            self.corruption_level < 1,
            f"Expected --corruption-level below 1 with --corrupt {self.name}, a share of the entries; got "
            f"{self.corruption_level:g}.",
        )


class Gaussian(Corrupting, name="gaussian", target=f"{_MODULE}:gaussian_noise", formula="x + level scale e"):
    """Added normal noise."""


class Masking(Share, name="masking", target=f"{_MODULE}:masking"):
    """Entries are set to 0, in tables to the mean of their column."""


class SaltAndPepper(Share, name="salt-and-pepper", target=f"{_MODULE}:salt_and_pepper"):
    """Entries are set to 0 or 1."""

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Check that 0 and 1 are in the range of the columns."""
        check(
            facts.one_unit or facts.error == "cross-entropy",
            "Expected images, or zeros and ones, for --corrupt salt-and-pepper, which sets entries to 0 or 1; got a "
            "table. Choose --corrupt gaussian or masking.",
        )
        return {}

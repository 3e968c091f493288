"""Features of the training rows, computed once and cached."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from pyro_vae._checks import InputError
from pyro_vae.evaluate.samples.features import FeatureNetwork, features_of
from pyro_vae.evaluate.samples.images import TrainingImages
from pyro_vae.progress import progress_bar
from pyro_vae.storage import StorageError, write_atomically

__all__ = ["Reference"]


class Reference:
    """Features of the training rows by a network, which is first trained on them if it learns.

    They are computed when first needed and cached in memory, and in a file if `path` is set, for resumed runs. A file
    for other rows or another network is replaced.

    Args:
        images: The training rows.
        network: The feature network.
        progress: Whether to show a progress bar while they are computed.

    Attributes:
        path: The file, or None.

    Raises:
        InputError: If the network learns from labels and there are none.
    """

    def __init__(self, images: TrainingImages, network: FeatureNetwork, progress: bool = True) -> None:
        if network.learns and images.labels is None:
            raise InputError(
                f"Expected rows with labels for the features of a {network.name}; got none. Take other features."
            )
        self.images, self.network, self.progress = images, network, progress
        self.path: Path | None = None
        self._kept: Tensor | None = None

    def features(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the features, float32 of shape (N, num_features), on the CPU.

        Args:
            device: Device of the network.
        """
        if self._kept is None:
            self._kept = self._read()
        if self._kept is None:
            self._kept = self._computed(device)
            self._write(self._kept)
        return self._kept

    def _computed(self, device: torch.device | str) -> Tensor:
        self.network.to(device)
        if self.network.learns:
            self.network.prepare(torch.cat(list(self.images.blocks())), self.images.labels)
        title = "features of training rows"
        with progress_bar(len(self.images), "rows", title, shown=self.progress, leave=False) as bar:

            def blocks() -> Iterator[Tensor]:
                for block in self.images.blocks():
                    yield block
                    bar.update(len(block))

            return features_of(self.network, blocks(), device)

    @property
    def _key(self) -> str:
        parts = (self.images.sha256, self.network.name, getattr(self.network, "sha256", ""))
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _read(self) -> Tensor | None:
        """Return the features of the file, or None if there is none for these rows and this network."""
        if self.path is None or not self.path.is_file():
            return None
        with suppress(SafetensorError, OSError, KeyError, RuntimeError):
            with safetensors.safe_open(self.path, "pt") as file:
                if (file.metadata() or {}).get("key") != self._key:
                    return None
            tensors = safetensors.torch.load_file(self.path)
            features = tensors.pop("features")
            if self.network.learns:
                self.network.load_state_dict(tensors)
            return features
        return None

    def _write(self, features: Tensor) -> None:
        """Write the features to the file; if that fails they are computed again next time."""
        if self.path is None:
            return
        weights = self.network.state_dict() if self.network.learns else {}
        tensors = {
            "features": features,
            **{name: value.cpu().contiguous() for name, value in weights.items()},
        }
        with suppress(StorageError), write_atomically(self.path) as temporary:
            safetensors.torch.save_file(tensors, temporary, metadata={"key": self._key})

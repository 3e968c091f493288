"""Features of Inception-v3, with which the Fréchet distance is called FID."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pyro_vae._checks import InputError, MissingPackageError, check
from pyro_vae.evaluate.samples.features import FeatureNetwork

__all__ = ["InceptionFeatures"]


class InceptionFeatures(FeatureNetwork):
    """The 2048 features before the last layer of Inception-v3 (Szegedy et al. 2016), trained on ImageNet.

    Images are resized to 299x299 and mapped to [-1, 1], as pytorch-fid does. Published FIDs use the weights
    `pt_inception-2015-12-05-6726825d.pth` of pytorch-fid, ported from TensorFlow. Those of torchvision are another
    training of a slightly different network, and metrics with them are named accordingly.

    Args:
        path: File of the weights, of pytorch-fid or of torchvision's `inception_v3`.

    Raises:
        InputError: If the file is missing, damaged, or of another network.
        MissingPackageError: If torchvision or pytorch-fid is missing.
    """

    num_features = 2048

    def __init__(self, path: Path) -> None:
        super().__init__()
        weights = _read(Path(path))
        other = f"Expected weights of Inception-v3 in {path}, of torchvision or pytorch-fid; it has another network's."
        of_fid = _shape(weights, "fc.weight") == (1008, 2048)
        check(
            of_fid or _shape(weights, "fc.weight") == (1000, 2048),
            other,
        )
        self.name = "inception" if of_fid else "inception-torchvision"
        self.network: Any = _inception(of_fid)
        own = self.network.state_dict()
        given = {name: value for name, value in weights.items() if not name.startswith(("AuxLogits", "fc."))}
        # Files of old versions of torch have no batch counters.
        missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
        fits = all(name in own and own[name].shape == value.shape for name, value in given.items())
        check(
            fits and not missing,
            other,
        )
        self.network.load_state_dict(given, strict=False)
        self.sha256 = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images, shape (N, 2048)."""
        resized = interpolate(images, (299, 299), mode="bilinear", align_corners=False)
        features: Tensor = self.network(2 * resized - 1)
        return features


def _read(path: Path) -> dict[str, Any]:
    check(path.is_file(), f"Expected a file with weights of Inception-v3; there is no {path}.")
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling damaged bytes may raise anything
        raise InputError(
            f"Expected weights of Inception-v3 in {path}, a file of torch.save; it is damaged or something else "
            f"({type(error).__name__})."
        ) from None
    check(
        isinstance(weights, dict),
        f"Expected weights of Inception-v3 in {path}, tensors by name; got {type(weights).__name__}.",
    )
    named: dict[str, Any] = weights
    return named


def _shape(weights: dict[str, Any], name: str) -> tuple[int, ...]:
    return tuple(getattr(weights.get(name), "shape", ()))


def _inception(of_fid: bool) -> nn.Module:
    """Return torchvision's Inception-v3 without its last layer, with the blocks of pytorch-fid if `of_fid`."""
    try:
        from torchvision.models import inception_v3
    except ImportError as error:
        raise MissingPackageError(
            "Features of Inception need torchvision; it is not installed. Install it: pip install torchvision."
        ) from error
    network: Any = inception_v3(weights=None, aux_logits=False, init_weights=False, transform_input=False)
    network.fc, network.dropout = nn.Identity(), nn.Identity()
    if of_fid:
        try:
            from pytorch_fid import inception as fid
        except ImportError as error:
            raise MissingPackageError(
                "These weights need the network of pytorch-fid; it is not installed. Install it: pip install "
                "'pyro_vae[samples]'."
            ) from error
        network.Mixed_5b = fid.FIDInceptionA(192, pool_features=32)
        network.Mixed_5c = fid.FIDInceptionA(256, pool_features=64)
        network.Mixed_5d = fid.FIDInceptionA(288, pool_features=64)
        network.Mixed_6b = fid.FIDInceptionC(768, channels_7x7=128)
        network.Mixed_6c = fid.FIDInceptionC(768, channels_7x7=160)
        network.Mixed_6d = fid.FIDInceptionC(768, channels_7x7=160)
        network.Mixed_6e = fid.FIDInceptionC(768, channels_7x7=192)
        network.Mixed_7b = fid.FIDInceptionE_1(1280)
        network.Mixed_7c = fid.FIDInceptionE_2(2048)
    return network

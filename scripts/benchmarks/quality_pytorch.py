"""PyTorch by hand, compiled, with the published recipe: `python -m benchmarks.quality_pytorch JOB`."""

import torch
from torch import nn

from benchmarks._snapshots import ADAM, Layers, Snapshots, learning_rates
from benchmarks.pytorch import VAE


def linear_layers(network: nn.Module) -> Layers:
    """Return weights and biases of a network's linear layers."""
    found = [module for module in network.modules() if isinstance(module, nn.Linear)]
    return [(layer.weight.detach(), layer.bias.detach()) for layer in found]


@torch.no_grad()
def start(network: nn.Module, mean: torch.Tensor | None = None) -> None:
    """Set the weights as in Glorot & Bengio (2010), biases to 0, the decoder's last to the logits of the data."""
    for weight, bias in linear_layers(network):
        nn.init.xavier_uniform_(weight)
        nn.init.zeros_(bias)
    if mean is not None:
        linear_layers(network)[-1][1].copy_(torch.logit(mean.clamp(0.001, 0.999)))


def main() -> None:
    """Train."""
    snapshots = Snapshots()
    grey = torch.from_numpy(snapshots.grey())
    model = VAE(snapshots.network)
    start(model.encoder)
    start(model.decoder, grey.mean(0))
    loss = torch.compile(model)
    optimizer = torch.optim.Adam(model.parameters(), fused=True, **ADAM)
    for lr in learning_rates():
        optimizer.param_groups[0]["lr"] = lr
        for index in torch.randperm(len(grey)).split(snapshots.network.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss(torch.bernoulli(grey[index])).backward()
            optimizer.step()
            if snapshots.over(
                lambda: (linear_layers(model.encoder), linear_layers(model.decoder)), "variance"
            ):
                return


if __name__ == "__main__":
    main()

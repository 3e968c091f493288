"""The start of training: programs that can be trained, with the same parameters in all processes."""

from __future__ import annotations

import warnings

import torch
from pyro.infer.autoguide import AutoGuide
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._programs import parameters_of
from pyro_vae.objectives import Loss, outside_support_message
from pyro_vae.objectives.changed_variables import check_changed_variables
from pyro_vae.processes import Processes

__all__ = ["check_trainable", "starting_parameters"]


def check_trainable(loss: nn.Module) -> None:
    """Raise `InputError` if parameters were created in inference mode and cannot have gradients."""
    made_inside = [name for name, parameter in loss.named_parameters() if parameter.is_inference()]
    check(
        not made_inside,
        f"Expected parameters that can be trained; {', '.join(made_inside[:3])} were made inside "
        "torch.inference_mode(). Make model and guide outside of it.",
    )


def starting_parameters(loss: Loss, inputs: tuple[Tensor, ...], processes: Processes) -> list[Tensor]:
    """Return the parameters of both programs, with the values of the first process.

    The programs are run on `inputs`. A warning is issued if these are outside the support of p(x|z).

    Args:
        loss: An objective bound to a model and a guide.
        inputs: Example inputs of the programs.
        processes: The processes that train together.

    Raises:
        InputError: If there are no parameters, or a bound of the programs does not exist.
    """
    parameters = parameters_of(loss.model, loss.guide, *inputs)
    check(bool(parameters), "Expected a model or a guide with parameters to train; got none.")
    outside = outside_support_message(loss, *inputs)
    if outside is not None:
        warnings.warn(outside, stacklevel=3)
    if loss.objective.is_bound and not isinstance(loss.guide, AutoGuide):
        check_changed_variables(loss.guide, *inputs)
    with torch.no_grad():
        for parameter in parameters if processes.count > 1 else ():
            parameter.copy_(processes.from_first(parameter))
    return parameters

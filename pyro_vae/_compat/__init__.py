"""All private names of torch and Pyro that the package uses, each with a fallback for versions without it.

Names are looked up when used. The fallback gives the same results, possibly slower, as stated in each docstring.
"""

from pyro_vae._compat.attributes import (
    fused_adamw,
    give_local_state,
    has_bfloat16_instructions,
    linear_pointwise,
    module_tables,
    takes_scale,
    validate_sample,
)
from pyro_vae._compat.inductor import (
    compile_graph,
    inductor_settings,
    loaded_libraries,
    lower_to_onednn,
    num_inputs_of_library,
    open_library,
    profile_kernels,
)
from pyro_vae._compat.operations import observe_operations, observe_tensors, record

__all__ = [
    "compile_graph",
    "fused_adamw",
    "give_local_state",
    "has_bfloat16_instructions",
    "inductor_settings",
    "linear_pointwise",
    "loaded_libraries",
    "lower_to_onednn",
    "module_tables",
    "num_inputs_of_library",
    "observe_operations",
    "observe_tensors",
    "open_library",
    "profile_kernels",
    "record",
    "takes_scale",
    "validate_sample",
]

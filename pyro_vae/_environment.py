"""What a script sets before torch is loaded, and how it ends."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

__all__ = ["limit_thread_spinning", "run_script"]


def limit_thread_spinning() -> None:
    """Let torch's waiting threads sleep after a short spin, unless the user has chosen otherwise.

    GNU OpenMP's threads wait by spinning, which a busy neighbour on the same cores makes expensive: who spins
    keeps a core from the thread that is waited for. Measured on two cores, a step of 1.7 ms takes 7 ms and more
    beside such a neighbour with a spin count of 3000, and 4.8 with 1000, which takes up to a quarter longer on an
    idle machine. It is read once, when torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1500")


def run_script(main: Callable[[], int]) -> None:
    """Run a script's `main` and exit: a user's mistake is one sentence on stderr and status 2."""
    from pyro_vae._checks import InputError, LostProcessError, MissingPackageError, NonFiniteLossError

    try:
        status = main()
    except (InputError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except (NonFiniteLossError, LostProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except (MemoryError, RuntimeError) as error:  # what NumPy and torch raise for want of memory
        if "allocate" not in str(error):
            raise
        amount = re.search(r"allocate ([\d.]+ \w+)", str(error))
        print(
            f"error: Not enough memory: {amount[1] if amount else 'what is needed'} could not be had. "
            "Choose a smaller --hidden, --latent-dim, --batch-size or --num-particles.",
            file=sys.stderr,
        )
        status = 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)

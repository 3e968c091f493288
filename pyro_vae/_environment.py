"""Set-up of commands before torch is loaded, and their exit status."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable

__all__ = ["limit_thread_spinning", "run_script"]


def limit_thread_spinning() -> None:
    """Limit the spinning of waiting OpenMP threads, unless the user has set it.

    Threads of GNU OpenMP wait by spinning. If other processes use the same cores, a spinning thread can block the
    thread that it waits for. Measured on two cores, a step of 1.7 ms takes 7 ms or more next to a busy process with a
    spin count of 3000, and 4.8 ms with 1000, which is up to 25 % slower on an idle machine. The variable is read when
    torch is loaded.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1500")


def run_script(main: Callable[[], int]) -> None:
    """Run `main` and exit with its status; invalid input gives one sentence on stderr and status 2."""
    from pyro_vae._checks import InputError, LostProcessError, MissingPackageError, NonFiniteLossError

    try:
        status = main()
    except (InputError, MissingPackageError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 2
    except (NonFiniteLossError, LostProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        status = 1
    except (MemoryError, RuntimeError) as error:  # raised by NumPy and torch if memory is insufficient
        if "allocate" not in str(error):
            raise
        amount = re.search(r"allocate ([\d.]+ \w+)", str(error))
        print(
            f"error: Not enough memory to allocate {amount[1] if amount else 'the arrays'}. "
            "Choose a smaller --hidden, --latent-dim, --batch-size or --num-particles.",
            file=sys.stderr,
        )
        status = 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        status = 130
    except BrokenPipeError:
        # The reader of stdout, such as `head`, has closed it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 141
    sys.exit(status)

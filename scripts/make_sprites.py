"""Write a data set of sprites with known factors, a full grid of them, and score a run's dimensions against these.

python scripts/make_sprites.py sprites
python scripts/svi_train.py --dataset sprites/sprites.npz --likelihood bernoulli --objective tc --tc-weight 6
python scripts/make_sprites.py sprites --run runs/sprites-bernoulli-001
"""

from _clone import find_package

find_package()

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tyro.conf import Positional

from pyro_vae._command_line import parse
from pyro_vae._environment import limit_thread_spinning, run_script

limit_thread_spinning()

SIZE = 32
"""Height and width of an image, in pixels."""
LEVELS = {"shape": 3, "scale": 4, "orientation": 8, "x": 8, "y": 8}
"""Levels of each factor: 6144 images, as many as there are combinations."""


@dataclass(frozen=True)
class Arguments:
    """Write black and white images of a wedge, an ellipse and a heart at every scale, orientation and place."""

    folder: Positional[Path]
    """Folder for `sprites.npz`, the images, and `sprites_factors.npz`, the level of each factor of each image."""
    run: Path | None = None
    """Print the mutual information gap of this run's guide (Chen et al. 2018) instead of writing images."""


def factors() -> dict[str, np.ndarray]:
    """Return the level of each factor for all combinations, each of shape (N,)."""
    grids = np.meshgrid(*(np.arange(count) for count in LEVELS.values()), indexing="ij")
    return {name: grid.ravel() for name, grid in zip(LEVELS, grids, strict=True)}


def images() -> np.ndarray:
    """Return an image of zeros and ones for each combination, shape (N, SIZE, SIZE), bytes."""
    levels = factors()
    radius = 4 + 1.5 * levels["scale"]
    angle = 2 * np.pi * levels["orientation"] / LEVELS["orientation"]
    centre_x, centre_y = (10 + 12 * levels[name] / (LEVELS[name] - 1) for name in ("x", "y"))
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    found = np.empty((len(radius), SIZE, SIZE), dtype=np.uint8)
    for number in range(len(radius)):
        across, down = columns - centre_x[number], rows - centre_y[number]
        cosine, sine = np.cos(angle[number]), np.sin(angle[number])
        u = (cosine * across + sine * down) / radius[number]
        v = (cosine * down - sine * across) / radius[number]
        found[number] = INSIDE[levels["shape"][number]](u, v)
    return found


def _heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    u, v = 1.2 * u, -1.2 * v
    inside: np.ndarray = (u**2 + v**2 - 1) ** 3 - u**2 * v**3 <= 0
    return inside


INSIDE = (
    # Oblong, so that its orientation shows; a quarter more on one side.
    lambda u, v: (np.abs(u - 0.15) <= 0.85) & (np.abs(v) <= 0.5 + 0.15 * u),
    lambda u, v: (u**2 + (v * (2 - 0.5 * u)) ** 2) <= 1,
    _heart,
)
"""Whether a point of a shape's own coordinates lies inside it, by the level of the shape."""


def score(folder: Path, run: Path) -> int:
    """Print the mutual information gap of a run over all sprites."""
    from pyro_vae import load_run
    from pyro_vae.evaluate import information_gap

    with np.load(folder / "sprites_factors.npz") as kept:
        levels = {name: kept[name] for name in kept.files}
    x = images().reshape(-1, SIZE * SIZE).astype(np.float32)
    found = information_gap(load_run(run).guide, x, levels)
    print(f"mutual information gap of {len(x)} sprites: {found.mean:.3f}")
    for name, gap in found.by_factor.items():
        best = found.information[name]
        text = f"z[{int(best.argmax())}] knows {float(best.max()):.2f} of {found.entropy[name]:.2f} nats"
        print(f"  {name}: {gap:.3f}; {text}")
    return 0


def main() -> int:
    """Write the images and their factors, or score a run."""
    arguments: Arguments = parse(Arguments)
    if arguments.run is not None:
        return score(arguments.folder, arguments.run)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    pictures = images()
    order = np.random.default_rng(0).permutation(len(pictures))
    held = len(pictures) // 10
    np.savez_compressed(
        arguments.folder / "sprites.npz",
        train=pictures[order[2 * held :]],
        validation=pictures[order[held : 2 * held]],
        test=pictures[order[:held]],
    )
    np.savez_compressed(arguments.folder / "sprites_factors.npz", **factors())  # type: ignore[arg-type]
    print(f"written to {arguments.folder}: {len(pictures)} images of {SIZE} x {SIZE} pixels")
    return 0


if __name__ == "__main__":
    run_script(main)

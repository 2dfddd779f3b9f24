"""Build one checkpoint at two sizes, prove both, and say which is faster: `python examples/python/build_and_compare.py`."""

from __future__ import annotations

from pathlib import Path

import edgec


def main(checkpoint: str = "demo", folder: Path = Path("build/python"), sides: tuple[int, ...] = (96, 224)) -> None:
    """Build an artefact for each side in `folder`, verify it, and compare the two."""
    folder.mkdir(parents=True, exist_ok=True)
    artefacts = []
    for side in sides:
        size = edgec.Size(side, side)
        built = edgec.build(checkpoint, target="cpu", size=size, output=folder / f"{side}.edgec", force=True)
        print(f"{size}: {built.report.reason}")
        # The golden frames must give the features that were recorded.
        checked = edgec.verify(built.directory)
        print(f"{size}: verified on {checked.frames} frames, {checked.files} files whole")
        artefacts.append(built.directory)
    # Shapes differ, so that the comparison must be asked for.
    (comparison,) = edgec.compare(*artefacts, anyway=True)
    for judged in comparison.latency:
        print(f"{judged.figure}: {judged.verdict.value if judged.verdict else 'not judged'}")


if __name__ == "__main__":
    main()

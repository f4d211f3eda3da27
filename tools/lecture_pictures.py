"""Make docs/images/lecture-*.png: run the examples at full size, and keep their pictures small enough for git.

    python tools/lecture_pictures.py              # all of examples/
    python tools/lecture_pictures.py limits neuron

What does not fit 80 KB as it is, in 256 colours, gets fewer of them and is made smaller.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
MOST_BYTES = 80_000
WIDTHS_AND_COLOURS = ((1500, 256), (1500, 128), (1100, 128), (1100, 64), (900, 64), (900, 32), (700, 32))


def main(names: list[str]) -> None:
    """Run each example; what it prints goes to the terminal, its pictures to docs/images."""
    for name in names or sorted(path.stem for path in (ROOT / "examples").glob("*.py")):
        with tempfile.TemporaryDirectory() as folder:
            print(f"\n$ python examples/{name}.py", flush=True)
            subprocess.run([sys.executable, str(ROOT / "examples" / f"{name}.py"), "--out", folder], check=True)
            for path in sorted(Path(folder).glob("*.png")):
                target = IMAGES / f"lecture-{path.name}"
                target.write_bytes(packed(Image.open(path).convert("RGB")))
                print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")


def packed(picture: Image.Image) -> bytes:
    """Return a picture as PNG, the first way that fits."""
    for width, colours in WIDTHS_AND_COLOURS:
        small = picture
        if width < picture.width:
            small = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        small.quantize(colours, dither=Image.Dither.NONE).save(stream, "PNG", optimize=True)
        if stream.tell() <= MOST_BYTES:
            return stream.getvalue()
    raise SystemExit(f"a picture has {stream.tell():,} bytes even at {width} pixels' width and {colours} colours")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Pictures of questions: where one is kept, and how it is decoded to 8 bits of RGB.

What has no one meaning in 8 bits is refused by name: float pictures, 32-bit ones, several frames.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from PIL import Image, ImageFile, ImageOps

from credit_zoo.errors import UsageError

T = TypeVar("T")
SKIP = "data.skip_bad=true skips such rows"
_WHITE = (255, 255, 255, 255)
_FRAMES_OF_ONE = ("MPO",)  # a camera's JPEG with a preview, or the view of the other eye, behind the picture
_STEPS = {"L;2": 85, "L;4": 17}  # between the greys of 2 and 4 bits
_BITS, _WHITE_IS_ZERO = 258, 262  # tags of TIFF


class BadRow(UsageError):
    """A row that cannot be asked; the message names it, `why` is what it is counted as where bad ones are skipped."""

    why = "bad row"


class BadImage(BadRow):
    """A picture that is missing, does not decode, or cannot be shown in 8 bits; the message names it."""

    why = "bad picture"


@runtime_checkable
class Held(Protocol):
    """A picture that is no file of its own."""

    def read(self) -> io.BytesIO:
        """The picture as a file; a `ValueError` where there is none."""
        ...


Picture = Path | Held


def held_bytes(value: Any) -> io.BytesIO:
    """A picture as the hub's files keep it, `{"bytes": ...}` or a list of just one."""
    first = only(value)
    if not isinstance(first, dict) or not first.get("bytes"):
        raise ValueError("the cell holds no bytes")
    return io.BytesIO(first["bytes"])


def only(value: Any) -> Any:
    """The value, or what stands alone in a list; a `ValueError` for a list of several, none of which is meant."""
    if isinstance(value, list) and len(value) > 1:
        raise ValueError(f"it holds {len(value)} pictures, and a question has one")
    return value[0] if isinstance(value, list) and value else value


def open_image(path: Picture) -> Image.Image:
    """The picture, decoded in full, turned as its EXIF data say, in RGB, what is transparent on white."""
    return _opened(path, _rgb)


def picture_size(path: Picture) -> tuple[int, int]:
    """Width and height of the picture as it is shown, from its header alone."""
    return _opened(path, _size)


def _opened(path: Picture, read: Callable[[ImageFile.ImageFile], T]) -> T:
    try:
        with Image.open(path if isinstance(path, Path) else path.read()) as opened:
            return read(opened)
    except FileNotFoundError as error:
        raise BadImage(f"the picture {path} is missing. {SKIP}") from error
    # Pillow's and Arrow's own errors are of these kinds; a broken file may end in any of them.
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, ArithmeticError, RuntimeError) as error:
        raise BadImage(f"the picture {path} does not decode: {error}. {SKIP}") from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise BadImage(f"the picture {path} is too large to decode: {error}. {SKIP}") from error


def _size(opened: ImageFile.ImageFile) -> tuple[int, int]:
    width, height = opened.size
    return (height, width) if opened.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (width, height)


def _rgb(opened: ImageFile.ImageFile) -> Image.Image:
    frames = getattr(opened, "n_frames", 1)
    if frames > 1 and opened.format not in _FRAMES_OF_ONE:
        raise ValueError(f"it holds {frames} frames, and a question has one picture")
    coarse = _STEPS.get(str(opened.tile[0].args), 1) if opened.tile else 1
    opened.load()
    if coarse > 1 and "transparency" in opened.info:  # Pillow scales the values, not the one that is not seen
        opened.info["transparency"] *= coarse
    upright = ImageOps.exif_transpose(opened)
    if upright.mode in ("F", "I") or upright.mode.startswith("I;"):
        upright = _eight_bits(upright, opened)
    if not upright.has_transparency_data:
        return upright.convert("RGB")
    layer = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer).convert("RGB")


def _eight_bits(picture: Image.Image, opened: ImageFile.ImageFile) -> Image.Image:
    """Grey of more than 8 bits, scaled so that its whole range becomes 0 to 255."""
    tags = getattr(opened, "tag_v2", {})
    # Pillow gives PGM's values of more than 8 bits, and older ones' PNG, as 16 bits in 32.
    sixteen = picture.mode.startswith("I;16") or (picture.mode == "I" and opened.format in ("PNG", "PPM"))
    if not sixteen:
        raise ValueError(f"its values ({picture.mode}) have no fixed range: save it with 8 or 16 bits")
    bits = tags.get(_BITS, (16,))[0]
    values = np.asarray(picture).astype(np.float64)
    if tags.get(_WHITE_IS_ZERO) == 0:
        values = 2**bits - 1 - values
    grey = Image.fromarray(np.clip(np.rint(values * 255 / (2**bits - 1)), 0, 255).astype(np.uint8))
    clear = picture.info.get("transparency")
    if clear is not None:  # the one value that is not seen
        grey.putalpha(Image.fromarray(np.where(np.asarray(picture) == clear, 0, 255).astype(np.uint8)))
    return grey

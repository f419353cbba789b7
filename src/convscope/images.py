"""From a file to the numbers a network reads, and back to pixels. The one place that decides pixel ranges.

    x[c] = (p[c] · range/255 − mean[c]) / std[c]            p: uint8 pixels after resizing; c in the network's channel order

`load_image` gives uint8 pixels (H, W, 3) or (H, W, 1) and nothing else; `Preprocess` does everything after that, says it in
one sentence (`describe()`) and keeps it in a `preprocess.json`. Nothing is guessed: an image that does not fit is refused.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from convscope.errors import DataError, ShapeError, StoreError, UsageError, unknown

Pixels = NDArray[np.uint8]  # (H, W, C)
RESIZE = ("none", "stretch", "crop", "pad")
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC, "nearest": Image.Resampling.NEAREST}


def load_image(path: str | Path) -> Pixels:
    """What are the pixels of this file? uint8 (H, W, 3), or (H, W, 1) for a grey image. Errors: DataError.

    Upright (EXIF orientation applied); the first frame of an animation; transparent pixels laid on white; palettes and CMYK
    turned into RGB (without colour profiles); 16-bit grey divided by 257. `read_image` also says which of these were done.

    >>> load_image("nowhere.png")
    Traceback (most recent call last):
    convscope.errors.DataError: no image at nowhere.png; there is no such file; give the path of an image file
    """
    return read_image(path)[0]


def read_image(path: str | Path) -> tuple[Pixels, tuple[str, ...]]:
    """The pixels of a file, and one remark for each conversion that was needed."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"no image at {path}", "it is a folder" if path.is_dir() else "there is no such file",
                        "give the path of an image file")
    if path.stat().st_size == 0:
        raise DataError(f"cannot read {path}", "the file is empty (0 bytes)", "restore it or remove it")
    try:
        with Image.open(path) as image:
            return pixels_of(image)
    except DataError as error:
        raise DataError(f"cannot read {path}", str(error)) from error
    except Exception as error:  # decoders of broken files raise nearly anything: SyntaxError, struct.error, EOFError, …
        raise DataError(f"cannot read {path}", f"{type(error).__name__}: {error}",
                        "the file is damaged or not an image; open it in a viewer or remove it") from error


def pixels_of(image: Image.Image) -> tuple[Pixels, tuple[str, ...]]:
    """The same for an image that Pillow holds already."""
    notes: list[str] = []
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        notes.append("several frames: the first was taken")
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG")
    upright = ImageOps.exif_transpose(image)
    if upright.size != image.size or image.getexif().get(0x0112, 1) != 1:
        notes.append("turned upright (EXIF)")
    image = upright
    if deep:
        notes.append("16 bits: divided by 257")
        values = np.asarray(image).astype(np.float64)
        return np.clip(np.rint(values / 257), 0, 255).astype(np.uint8)[..., None], tuple(notes)
    if image.mode in ("I", "F"):
        raise DataError(f"pixels of type {image.mode}", "32-bit numbers have no fixed range from black to white",
                        "save it as 8 or 16 bits")
    grey = image.mode in ("1", "L", "LA", "La")
    if _is_transparent(image):
        notes.append("transparent: laid on white")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    elif image.mode not in ("1", "L", "RGB"):
        notes.append(f"{image.mode}: turned into RGB")
    pixels = np.array(image.convert("L" if grey else "RGB"), dtype=np.uint8)
    return (pixels[..., None] if grey else pixels), tuple(notes)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return True
    return image.palette is not None and image.palette.mode.endswith("A")


@dataclass(frozen=True)
class Preprocess:
    """What does the network expect of an image? uint8 (H, W, C) → float32 (C, H, W), and back for display.

    x[c] = (p[c] · range/255 − mean[c]) / std[c]. `mean` and `std` are in units of `range` (1 or 255) and in the network's
    channel order; one number serves all channels. Misleads when it is not what the network was trained with: accuracy
    falls, and nothing else tells. Errors: UsageError (settings), ShapeError (an image that does not fit).

    >>> Preprocess(mean=(0.5,), std=(0.5,))(np.full((1, 1, 3), 255, np.uint8)).ravel().tolist()
    [1.0, 1.0, 1.0]
    """

    size: tuple[int, int] | None = None  # (h, w) of what the network reads; None: the image's own
    resize: str = "none"  # how to get there: 'none' (must have it), 'stretch', 'crop' (centre), 'pad' (with the mean)
    resize_to: int | None = None  # 'crop' only: the shorter side before cropping; None: as small as the crop allows
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    range: float = 1.0  # what white is before mean and std: 1 or 255
    channels: str | int = "RGB"  # 'RGB', 'BGR', 'L' (grey), or a number of channels taken as they are
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        for name in ("size", "mean", "std"):  # lists come from JSON
            value = getattr(self, name)
            if isinstance(value, (list, int, float)):
                object.__setattr__(self, name, tuple(value) if isinstance(value, list) else (value,))
        named = self.channels in ("RGB", "BGR", "L")
        counted = isinstance(self.channels, int) and not isinstance(self.channels, bool) and self.channels > 0
        self._check("channels", named or counted, "'RGB', 'BGR', 'L' or a number of channels")
        self._check("resize", self.resize in RESIZE, "one of " + ", ".join(RESIZE))
        self._check("interpolation", self.interpolation in FILTERS, "one of " + ", ".join(FILTERS))
        self._check("range", self.range in (1, 255), "1 or 255")
        sized = self.size is not None and len(self.size) == 2 and all(isinstance(n, int) and n > 0 for n in self.size)
        self._check("size", sized or (self.size is None and self.resize == "none"), "(height, width) in pixels")
        for name in ("mean", "std"):
            numbers = getattr(self, name)
            fits = len(numbers) in (1, self.depth) and all(np.isfinite(n) for n in numbers)
            self._check(name, fits, f"1 or {self.depth} finite numbers" if self.depth > 1 else "one finite number")
        self._check("std", all(s > 0 for s in self.std), "positive")
        enough = self.size is None or self.resize_to is None or self.resize_to >= max(self.size)
        self._check("resize_to", enough and (self.resize_to is None or self.resize == "crop"),
                    "at least the longer side of `size`, and only with resize='crop'")

    def _check(self, name: str, right: bool, wanted: str) -> None:
        if not right:
            raise UsageError(f"Preprocess.{name} must be {wanted}", f"got {getattr(self, name)!r}",
                             f"presets: {', '.join(PRESETS)}")

    @property
    def depth(self) -> int:
        """How many channels C the network reads."""
        return self.channels if isinstance(self.channels, int) else {"RGB": 3, "BGR": 3, "L": 1}[self.channels]

    def __call__(self, image: Pixels) -> NDArray[np.float32]:
        """uint8 (H, W, C) → float32 (C, h, w)."""
        pixels = self._resized(self._in_channels(image))
        mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        x = np.ascontiguousarray(pixels.transpose(2, 0, 1)).astype(np.float32)
        return (x / np.float32(255 / self.range) - mean) / std

    def inverse(self, x: NDArray[Any]) -> Pixels:
        """(C, H, W) or (B, C, H, W) → uint8 (…, H, W, 3) to look at. Out-of-range values are clipped; resizing stays.

        Grey is repeated over red, green, blue. Of other channel numbers the first three are shown, of two the first.
        """
        x = np.asarray(x, dtype=np.float64)
        if x.ndim not in (3, 4) or x.shape[-3] != self.depth:
            wanted = f"wanted ({self.depth}, H, W) or (B, {self.depth}, H, W)"
            raise ShapeError(f"cannot show an array of shape {x.shape}", wanted, "give what this preprocessing made")
        if not np.isfinite(x).all():
            raise DataError("cannot show this image", "it holds NaN or infinite values", "look for where they arise")
        mean, std = (np.asarray(v, np.float64)[:, None, None] for v in (self.mean, self.std))
        pixels = np.clip(np.rint((x * std + mean) * (255 / self.range)), 0, 255).astype(np.uint8)
        first = pixels[..., :3, :, :] if self.depth >= 3 else np.repeat(pixels[..., :1, :, :], 3, axis=-3)
        return np.ascontiguousarray(np.moveaxis(first[..., ::-1, :, :] if self.channels == "BGR" else first, -3, -1))

    def _in_channels(self, image: Pixels) -> Pixels:
        """The network's channels, in its order."""
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or 0 in image.shape:
            raise ShapeError("an image must be uint8 of shape (H, W, C)", f"got {image.dtype} of shape {image.shape}",
                             "`load_image` and `Collection` give such images")
        found = image.shape[2]
        if self.channels == "L" and found == 3:
            return np.array(Image.fromarray(image).convert("L"))[..., None]  # 0.299 R + 0.587 G + 0.114 B
        if found == 1 and self.channels in ("RGB", "BGR"):
            return np.repeat(image, 3, axis=2)
        if found != self.depth:
            raise ShapeError(f"the network reads {self.depth} channels ({self.channels})", f"the image has {found}",
                             "give channels their number to take them as they are, or convert the image")
        return image[..., ::-1] if self.channels == "BGR" else image

    def _resized(self, image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        if self.size is None or ((height, width) == self.size and self.resize_to is None):
            return image
        h, w = self.size
        if self.resize == "none":
            raise ShapeError(f"the network reads {h}×{w} pixels", f"the image has {height}×{width}",
                             "choose resize='stretch', 'crop' or 'pad'")
        if self.resize == "stretch":
            return self._scaled(image, h, w)
        if self.resize == "pad":
            scale = min(h / height, w / width)
            inner = self._scaled(image, min(h, max(1, round(height * scale))), min(w, max(1, round(width * scale))))
            fill = np.clip(np.rint(np.asarray(self.mean) * (255 / self.range)), 0, 255).astype(np.uint8)
            out = np.empty((h, w, image.shape[2]), np.uint8)
            out[:] = fill
            top, left = (h - inner.shape[0]) // 2, (w - inner.shape[1]) // 2
            out[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
            return out
        if self.resize_to is None:
            scale = max(h / height, w / width)
            tall, wide = max(h, round(height * scale)), max(w, round(width * scale))
        else:  # the longer side is cut to an integer, as torchvision's Resize does
            short = min(height, width)
            tall, wide = int(self.resize_to * height / short), int(self.resize_to * width / short)
        image = self._scaled(image, tall, wide)
        top, left = round((tall - h) / 2), round((wide - w) / 2)
        return image[top : top + h, left : left + w]

    def _scaled(self, image: Pixels, h: int, w: int) -> Pixels:
        """Pillow's antialiased resizing; channel by channel, so that any number of them goes."""
        if image.shape[:2] == (h, w):
            return image
        chosen = FILTERS[self.interpolation]
        if image.shape[2] == 3:
            return np.array(Image.fromarray(np.ascontiguousarray(image)).resize((w, h), chosen))
        planes = (np.ascontiguousarray(image[..., c]) for c in range(image.shape[2]))
        return np.stack([np.array(Image.fromarray(p).resize((w, h), chosen)) for p in planes], axis=2)

    def describe(self) -> str:
        """All of it in one sentence."""
        before = f" after the shorter side became {self.resize_to}" if self.resize_to else ""
        how = {"none": "size as it is", "stretch": "stretched", "pad": "shrunk or enlarged to fit, padded with the mean",
               "crop": "cropped from the centre" + before}
        size = how[self.resize] if self.size is None else f"{self.size[0]}×{self.size[1]} pixels"
        size += "" if self.size is None else ", must have them" if self.resize == "none" else f", {how[self.resize]}"
        if self.resize in ("stretch", "pad", "crop"):
            size += f" ({self.interpolation})"
        colour = f"{self.channels} channels as they are" if isinstance(self.channels, int) else self.channels
        mean, std = (", ".join(f"{v:g}" for v in vs) for vs in (self.mean, self.std))
        return f"{colour}; {size}; 0 … {self.range:g}, minus {mean}, divided by {std}"

    def to_dict(self) -> dict[str, Any]:
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocess:
        """Fields that are missing have their defaults; one that we do not know is an error."""
        known = [f.name for f in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                raise unknown("field of Preprocess", name, known)
        return cls(**values)

    def save(self, path: str | Path) -> Path:
        path = Path(path)
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")
        return path

    @classmethod
    def load(cls, path: str | Path) -> Preprocess:
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError("it is not a JSON object")
        except (OSError, ValueError) as error:
            remedy = "make it with Preprocess(…).save(path)"
            raise StoreError(f"cannot read the preprocessing {path}", str(error), remedy) from error
        return cls.from_dict(values)


PRESETS: dict[str, Preprocess] = {
    "imagenet": Preprocess((224, 224), "crop", 256, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # torchvision's networks
    "caffe": Preprocess((224, 224), "crop", 256, (104.0, 117.0, 123.0), (1.0,), 255.0, "BGR"),  # networks trained in Caffe
    "unit": Preprocess(),  # 0 … 1
    "signed": Preprocess(mean=(0.5,), std=(0.5,)),  # −1 … 1
    "digits": Preprocess((8, 8), "stretch", channels="L"),
    "faces": Preprocess((25, 25), "stretch", channels="L"),
}


def preset(name: str) -> Preprocess:
    """A preprocessing by name, or from a file whose name ends in .json."""
    if name.endswith(".json"):
        return Preprocess.load(name)
    if name not in PRESETS:
        raise unknown("preprocessing", name, PRESETS, "or give a preprocess.json")
    return PRESETS[name]


def sized(preprocess: Preprocess, shape: tuple[int, ...]) -> Preprocess:
    """The same for a network that reads `shape` = (C, H, W): a size where it had none, grey or N channels where C says so.

    >>> sized(PRESETS["unit"], (1, 28, 28)).describe()
    'L; 28×28 pixels, stretched (bilinear); 0 … 1, minus 0, divided by 1'
    """
    count, height, width = shape[-3:]
    resize = "stretch" if preprocess.resize == "none" else preprocess.resize
    channels = preprocess.channels if count == preprocess.depth else {1: "L", 3: "RGB"}.get(count, count)
    before = preprocess.resize_to
    if before is not None and preprocess.size is not None:  # keep the share that the crop leaves
        before = max(height, width, round(before * max(height, width) / max(preprocess.size)))
    return dataclasses.replace(preprocess, size=(height, width), resize=resize, channels=channels, resize_to=before)

"""The pictures of an atlas: thumbnails, filter sheets, and everything on the page of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from convscope import outputs, registry, run, store
from convscope.addresses import slug
from convscope.draw import colours, raster
from convscope.network import Network, map_of
from convscope.record import measurable
from convscope.results import Heatmap, Picture

if TYPE_CHECKING:
    from convscope.atlas.work import Work
    from convscope.images import Preprocess

COLUMNS, PER_SHEET = 20, 400
LARGEST_MAP = 56  # a map with more rows or columns is averaged down to this before it is drawn
TILES = 64  # most tiles on one sheet


def thumbnails(work: Work) -> dict[str, Any]:
    """Sheets of small pictures of what the network sees, in the order of the collection."""
    count = min(len(work.collection), work.settings.thumbnails)
    folder = work.out / "thumbs"
    folder.mkdir(exist_ok=True)
    sheets: list[str] = []
    # Small enough that ten thousand of them browse from disk; larger where the images are few and large.
    size = 128 if count <= 2000 and max(work.net.input_shape[2:]) >= 128 else 64
    blank = np.full((size, size, 3), 128, np.uint8)
    for start in range(0, count, PER_SHEET):
        name = f"thumbs/{start // PER_SHEET:03d}.jpg"
        sheets.append(name)
        numbers = range(start, min(start + PER_SHEET, count))
        rows = -(-len(numbers) // COLUMNS)
        sheet = np.full((rows * size, COLUMNS * size, 3), 255, np.uint8)
        seen = {
            int(i): x
            for batch in work.collection.batches(work.preprocess, 64, start, numbers.stop)
            for i, x in zip(batch.index, batch.x.numpy(), strict=True)
        }
        for at, i in enumerate(numbers):
            tile = blank if i not in seen else _small(work.preprocess.inverse(seen[i]), size)
            y, x = divmod(at, COLUMNS)
            sheet[y * size : (y + 1) * size, x * size : (x + 1) * size] = tile
        with store.atomic(work.out / name) as file:
            file.write(raster.jpeg(sheet))
        work.report(numbers.stop, count, "thumbnails")
    return {"size": size, "columns": COLUMNS, "per_sheet": PER_SHEET, "sheets": sheets, "count": count}


def _small(pixels: Any, size: int) -> Any:
    """(H, W, 3) fitted into a thumbnail; small images are enlarged pixel by pixel."""
    from PIL import Image

    h, w = pixels.shape[:2]
    scale = size / max(h, w)
    method = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    fitted = np.asarray(Image.fromarray(pixels).resize((max(1, round(w * scale)), max(1, round(h * scale))), method))
    tile = np.full((size, size, 3), 255, np.uint8)
    y, x = (size - fitted.shape[0]) // 2, (size - fitted.shape[1]) // 2
    tile[y : y + fitted.shape[0], x : x + fitted.shape[1]] = fitted
    return tile


def filter_sheet(work: Work, address: str) -> dict[str, Any] | None:
    """The filters of a layer on one sheet, or None where it has none."""
    layer = work.net[address]
    if not layer.operator.startswith("conv") or layer.parameters == 0:
        return None
    found: Picture = registry.load("features", "filters")(most=layer.output_shape[1])(work.net, address)
    described = _sheet(work.out, f"pictures/filters/{slug(address)}.png", found, least=24)
    caption = "; ".join((found.title, described.pop("scale"), *found.notes))
    return described | {"count": len(found.tiles), "caption": caption, "norm": found.values["norm"]}


def _sheet(out: Any, name: str, picture: Picture, least: int) -> dict[str, Any]:
    described, content = sheet_of(picture, name, least)
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with store.atomic(path) as file:
        file.write(content)
    return described


def sheet_of(picture: Picture, name: str, least: int) -> tuple[dict[str, Any], bytes]:
    """A Picture as one PNG, and where its tiles are."""
    if picture.tiles.ndim == 4:
        tiles, scale = picture.tiles, picture.scale
    else:
        tiles, scale = raster.paint(picture.tiles, signed=picture.signed, each=picture.scale == "each")
    columns = min(16, len(tiles))
    tiles = raster.enlarge(tiles, least)
    content = raster.png(raster.sheet(tiles, columns, gap=1))
    return {"file": name, "tile": list(tiles.shape[1:3]), "gap": 1, "columns": columns, "scale": scale}, content


def image_page(
    net: Network, preprocess: Preprocess, pixels: Any, index: int | str, name: str
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Everything on the page of one image: data, and files by name."""
    x = net.check_input(torch.from_numpy(np.ascontiguousarray(preprocess(pixels)))[None])
    shown = preprocess.inverse(x[0].float().cpu().numpy())
    files = {f"pictures/image-{index}.png": raster.png(shown)}
    heatmaps = []
    target = run.target(net, None, x)
    for method, parameters in heatmaps_for(x.shape[2:]):
        described, made = heatmap_page(
            registry.load("attributions", method)(**parameters)(net, x, target), method, f"pictures/image-{index}"
        )
        heatmaps.append(described)
        files |= made
    maps = []
    for layer in measurable(net.layers):
        if map_of(layer) is None or len(map_of(layer) or ()) != 2:
            continue
        maps.append(layer.address)
    values = run.run(net, x, keep=maps)
    pages = []
    for address in maps:
        described, content = _maps_sheet(net, address, values[address], f"pictures/maps-{index}/{slug(address)}.png")
        pages.append(described)
        files[described["file"]] = content
    page = {
        "index": index,
        "id": name,
        "file": f"pictures/image-{index}.png",
        "width": shown.shape[1],
        "height": shown.shape[0],
        "heatmaps": heatmaps,
        "maps": pages,
        "prediction": prediction(net, values.output),
    }
    return page, files


def heatmaps_for(size: tuple[int, ...]) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The heat-maps on every image's page. The occluding square is coarse, so that an atlas of many images stays quick."""
    stride = max(1, min(size) // 18)  # half the window exactly, so that every pixel is covered equally often
    return (("gradient", {}), ("occlusion", {"window": 2 * stride, "stride": stride}))


def prediction(net: Network, output: Any, top: int = 5) -> dict[str, Any]:
    """The five highest classes of one image."""
    reading = outputs.read(net)
    shares = reading.each(output.flatten(1).float())
    best = shares[0].topk(min(top, shares.shape[1]))
    return {
        "kind": reading.does,
        "top": best.indices.tolist(),
        "probability": best.values.tolist(),
        "names": [run.class_name(net, i) for i in best.indices.tolist()],
    }


def _maps_sheet(net: Network, address: str, value: Any, name: str) -> tuple[dict[str, Any], bytes]:
    """A layer's strongest maps for one image: the first units by their maximum, in the order of the units."""
    layer = net[address]
    maps = value.movedim(layer.unit_axis or 1, 1)[0].float().cpu().numpy()  # (U, h, w)
    peak = maps.max((1, 2))
    units = np.sort(np.argsort(-peak, kind="stable")[:TILES])
    signed = bool((maps < 0).any())
    shown, note = _averaged(maps[units])
    picture = Picture(
        tiles=shown,
        units=tuple(f"{address}/{u}" for u in units),
        signed=signed,
        scale="shared",
        values={"maximum": peak[units]},
    )
    described, content = sheet_of(picture, name, least=48)
    caption = f"{len(units)} of {len(maps)} units, those with the largest responses; {described.pop('scale')}{note}"
    limit = float(np.abs(maps[units]).max())
    return {
        "layer": address,
        **described,
        "units": units.tolist(),
        "limit": limit,
        "signed": signed,
        "caption": caption,
    }, content


def _averaged(maps: Any) -> tuple[Any, str]:
    """Large maps (U, h, w) averaged over squares, so that a sheet stays a small file; and a sentence that says so."""
    factor = -(-max(maps.shape[1:]) // LARGEST_MAP)
    if factor == 1:
        return maps, ""
    u, h, w = maps.shape
    padded = np.pad(maps, ((0, 0), (0, -h % factor), (0, -w % factor)), mode="edge")
    small = padded.reshape(u, padded.shape[1] // factor, factor, padded.shape[2] // factor, factor).mean((2, 4))
    return small, f"; drawn at {small.shape[1]}×{small.shape[2]}, each the mean of {factor}×{factor} positions"


def heatmap_page(heat: Heatmap, method: str, stem: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """A Heatmap of one image for the page: the overlay, the plain map, and its numbers."""
    values = heat.map[0]
    limit = colours.limit(values, 0.995) or 1.0
    name = f"{stem}-{method}"
    plain, _ = raster.paint(values[None], signed=True)
    files = {
        f"{name}.png": raster.png(raster.heat_over(heat.images[0], values, limit)),
        f"{name}-plain.png": raster.png(plain[0]),
    }
    described = {
        "method": method,
        "target": heat.targets[0],
        "score": float(heat.scores[0]),
        "file": f"{name}.png",
        "plain": f"{name}-plain.png",
        "limit": limit,
        "largest": float(np.abs(values).max()),
        "unit": heat.unit,
        "proof": heat.proof,
        "notes": heat.notes,
        "settings": heat.origin.method,
    }
    return described, files

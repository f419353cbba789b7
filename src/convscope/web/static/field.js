'use strict';
/** Where things lie in pictures: receptive fields on images, tiles in sheets. Pure: no DOM. */
{
  /**
   * The part of the input that a position of a layer sees, as shares of the image (0 … 1), clipped to it.
   * Along each axis: start + i·stride … + size, as Araujo et al. (2019) count. No position (a vector) sees all.
   * @param {?{size: ?Array<?number>, stride: number[], start: number[]}} field
   * @param {?number} y @param {?number} x @param {number[]} input shape, batch first
   */
  function box(field, y, x, input) {
    const lengths = input.slice(-2);
    const [vertical, horizontal] = [y, x].map((at, axis) => {
      const size = field?.size?.[axis] ?? null;
      if (size === null || at === null || at === undefined) return [0, 1];
      const first = field.start[axis] + at * field.stride[axis];
      const clip = (pixel) => Math.min(Math.max(pixel, 0), lengths[axis]) / lengths[axis];
      return [clip(Math.floor(first)), clip(Math.ceil(first + size))];
    });
    const [top, bottom] = vertical,
      [left, right] = horizontal;
    return { top, left, height: bottom - top, width: right - left, whole: bottom - top === 1 && right - left === 1 };
  }

  /**
   * The same part on a square thumbnail: an image that is not square lies in its middle, with bars beside it.
   * @param part what `box` gave @param {number[]} input shape, batch first
   */
  function onThumb(part, input) {
    const [height, width] = input.slice(-2),
      longest = Math.max(height, width);
    const [h, w] = [height / longest, width / longest];
    return {
      top: (1 - h) / 2 + part.top * h,
      left: (1 - w) / 2 + part.left * w,
      height: part.height * h,
      width: part.width * w,
      whole: part.whole,
    };
  }

  /**
   * A part of a picture seen from nearer: a square window around it, half as large again but no less than `least` of the
   * picture, and where the part lies in that window.
   */
  function near(part, least = 0.4) {
    const side = Math.min(1, Math.max(least, 1.5 * part.width, 1.5 * part.height));
    const begin = (from, length) => Math.min(Math.max(from + length / 2 - side / 2, 0), 1 - side);
    const [left, top] = [begin(part.left, part.width), begin(part.top, part.height)];
    const inside = {
      left: (part.left - left) / side,
      top: (part.top - top) / side,
      width: part.width / side,
      height: part.height / side,
    };
    return { left, top, side, part: { ...inside, whole: part.whole } };
  }

  /** Where image `index` lies in the thumbnail sheets. @param {{size: number, columns: number, per_sheet: number}} thumbs */
  function thumb(thumbs, index) {
    const place = index % thumbs.per_sheet;
    return {
      sheet: Math.floor(index / thumbs.per_sheet),
      x: (place % thumbs.columns) * thumbs.size,
      y: Math.floor(place / thumbs.columns) * thumbs.size,
    };
  }

  /**
   * Where tile `index` lies in a sheet with gaps. `width` is the sheet's real width: a sheet with a border all round is
   * one gap wider on each side than one without.
   */
  function tile(sheet, index, width) {
    const [h, w] = sheet.tile,
      gap = sheet.gap ?? 0;
    const inner = sheet.columns * (w + gap) - gap;
    const border = width ? Math.max(0, Math.round((width - inner) / 2)) : 0;
    return {
      x: border + (index % sheet.columns) * (w + gap),
      y: border + Math.floor(index / sheet.columns) * (h + gap),
      width: w,
      height: h,
    };
  }

  /** The largest whole enlargement of a tile that keeps it within `room` pixels; small pictures stay crisp. */
  const enlarge = (pixels, room) => (pixels >= room ? room / pixels : Math.max(1, Math.floor(room / pixels)));

  const api = { box, onThumb, near, thumb, tile, enlarge };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).field = api;
}

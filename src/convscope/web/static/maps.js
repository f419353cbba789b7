'use strict';
/** Signed maps as colours and numbers: scales, the map over its image, differences, single pixels. Pure: no DOM. */
{
  // Blue lowers the score, white does nothing, red raises it: the scale of the pictures that convscope saves.
  const STOPS = [
    [3, 57, 117],
    [45, 119, 211],
    [142, 188, 250],
    [255, 255, 255],
    [243, 160, 150],
    [196, 73, 65],
    [106, 24, 22],
  ];
  const COVERAGE = 0.995,
    OPACITY = 0.85;

  /** @param {number} t −1 … 0 … 1 @returns {number[]} red, green, blue */
  function diverging(t) {
    const at = (Math.min(Math.max(t, -1), 1) + 1) * 3;
    const low = Math.min(Math.floor(at), 5);
    return STOPS[low].map((v, i) => v + (STOPS[low + 1][i] - v) * (at - low));
  }

  /** Where the colours of a map end: the 99.5 % quantile of |value|, so that one pixel does not pale all others. */
  function limit(values) {
    const sizes = Float32Array.from(values, Math.abs).filter(Number.isFinite).sort();
    if (!sizes.length) return 0;
    const at = COVERAGE * (sizes.length - 1);
    const low = Math.floor(at);
    const found = sizes[low] + ((sizes[low + 1] ?? sizes[low]) - sizes[low]) * (at - low);
    return found || sizes[sizes.length - 1];
  }

  /**
   * A map as pixels, alone or over its image (whose colours go to grey and are faded).
   * @param {ArrayLike<number>} values @param {number} end where the colours end @param {?ArrayLike<number>} under RGBA
   */
  function paint(values, end, under = null) {
    const out = new Uint8ClampedArray(values.length * 4);
    for (let i = 0; i < values.length; i += 1) {
      const share = values[i] === 0 ? 0 : Math.min(Math.abs(values[i]) / end, 1); // with end 0 everything is beyond it
      const sign = Math.sign(values[i]);
      let rgb = diverging(sign * share);
      if (under) {
        const grey = 70 + (0.299 * under[4 * i] + 0.587 * under[4 * i + 1] + 0.114 * under[4 * i + 2]) * (185 / 255);
        const alpha = OPACITY * Math.sqrt(share);
        rgb = diverging(sign * Math.max(share, 0.5)).map((v) => grey * (1 - alpha) + v * alpha);
      }
      out.set([...rgb, 255], 4 * i);
    }
    return out;
  }

  /** a − b, value by value. */
  const difference = (a, b) => Float32Array.from(a, (v, i) => v - b[i]);

  /** One pixel of a map, and its share of all. @returns {{value: number, share: number}} share of Σ|map| */
  function pixel(values, width, x, y) {
    let total = 0;
    for (let i = 0; i < values.length; i += 1) total += Math.abs(values[i]);
    const value = values[y * width + x];
    return { value, share: total > 0 ? Math.abs(value) / total : 0 };
  }

  /**
   * Where each map's colours end. Maps of one method share a scale, so that targets can be compared; with `shared`, all of a
   * unit do. @param {Array<{method: string, unit: string, limit: number}>} maps @returns {number[]}
   */
  function ends(maps, shared) {
    const key = (m) => (shared ? m.unit : m.method);
    const widest = new Map();
    for (const m of maps) widest.set(key(m), Math.max(widest.get(key(m)) ?? 0, m.limit));
    return maps.map((m) => widest.get(key(m)));
  }

  const api = { diverging, limit, paint, difference, pixel, ends };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).maps = api;
}

'use strict';
/** Colours that everybody can tell apart: one ramp for quantities, ten hues for classes. Pure: no DOM. */
{
  // One hue from paper to ink, so that lightness alone carries the value; the dark theme runs the other way.
  const RAMP = {
    light: [
      [244, 248, 250],
      [201, 225, 234],
      [134, 190, 209],
      [60, 143, 174],
      [11, 94, 128],
      [6, 52, 76],
    ],
    dark: [
      [30, 37, 42],
      [28, 62, 77],
      [25, 94, 118],
      [45, 134, 163],
      [104, 184, 208],
      [196, 232, 242],
    ],
  };
  // After Paul Tol's 'muted' scheme, moved apart in lightness for each background; the marker's form says the class as well.
  const CLASSES = {
    light: ['#3d3a9c', '#e0762f', '#1f8a70', '#b83a5e', '#4aa3d8', '#8f8a1e', '#8a3f98', '#146b3a', '#c99a2e', '#6b2340'],
    dark: ['#9a94f0', '#f0995a', '#4cc5a5', '#ee7f9c', '#7cc7f2', '#c9c455', '#d58be3', '#6fc98a', '#f0cf7a', '#c9708f'],
  };
  const FORMS = ['disc', 'square', 'triangle', 'diamond'];

  const css = (rgb) => `rgb(${rgb.map(Math.round).join(', ')})`;

  /** A point of the ramp. @param {number} t 0 … 1 @param {boolean} dark @returns {number[]} red, green, blue */
  function ramp(t, dark) {
    const stops = RAMP[dark ? 'dark' : 'light'];
    const at = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return stops[low].map((v, i) => v + (stops[low + 1][i] - v) * (at - low));
  }

  // Negative, zero, positive; zero is the paper, so that what is far from it stands out on both backgrounds.
  const SIDES = {
    light: [[24, 84, 168], [250, 250, 248], [190, 62, 40]],
    dark: [[110, 180, 250], [32, 38, 43], [255, 140, 104]],
  };

  /** A signed quantity: −1 … 0 … 1. @param {number} t @param {boolean} dark @returns {number[]} red, green, blue */
  function diverging(t, dark) {
    const [below, zero, above] = SIDES[dark ? 'dark' : 'light'];
    const end = t < 0 ? below : above;
    const share = Number.isFinite(t) ? Math.min(Math.abs(t), 1) ** 0.8 : 0;
    return zero.map((v, i) => v + (end[i] - v) * share);
  }

  /** Relative luminance of a colour, 0 … 1 (WCAG 2.2). @param {number[]} rgb */
  function luminance(rgb) {
    const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  /** Contrast of two colours, 1 … 21 (WCAG 2.2). */
  function contrast(a, b) {
    const [hi, lo] = [luminance(a), luminance(b)].sort((x, y) => y - x);
    return (hi + 0.05) / (lo + 0.05);
  }

  // Pure black: no softer ink reaches 4.5 : 1 on the middle of the ramp where white does not.
  const DARK_INK = [0, 0, 0],
    LIGHT_INK = [255, 255, 255];
  /** The text colour that reads best on a background. @param {number[]} rgb */
  const inkOn = (rgb) => (contrast(rgb, DARK_INK) >= contrast(rgb, LIGHT_INK) ? DARK_INK : LIGHT_INK);

  /**
   * Where a value stands between the smallest and the largest. Quantities that span decades (parameters, MACs, bytes) are
   * compared by logarithm, shares as they are. null stays null: unknown is not small.
   */
  function position(value, low, high, logarithmic) {
    if (value === null || value === undefined) return null;
    if (logarithmic) {
      if (value <= 0) return 0;
      const floor = Math.max(low, 1);
      if (high <= floor) return 1;
      return (Math.log(value) - Math.log(floor)) / (Math.log(high) - Math.log(floor));
    }
    return high > low ? (value - low) / (high - low) : 1;
  }

  /**
   * The classes that get a colour of their own: the ten with the most images, in order of their number.
   * @param {number[]} labels @returns {Map<number, number>} class -> place in the palette
   */
  function palette(labels, limit = CLASSES.light.length) {
    const counts = new Map();
    for (const label of labels) if (label >= 0) counts.set(label, (counts.get(label) ?? 0) + 1);
    const chosen = [...counts]
      .sort((a, b) => b[1] - a[1] || a[0] - b[0])
      .slice(0, limit)
      .map(([label]) => label);
    return new Map(chosen.sort((a, b) => a - b).map((label, i) => [label, i]));
  }

  const ofClass = (place, dark) =>
    place === undefined ? (dark ? '#7d868d' : '#9aa3a9') : CLASSES[dark ? 'dark' : 'light'][place];
  const formOf = (place) => FORMS[(place ?? 0) % FORMS.length];

  const api = { css, ramp, diverging, luminance, contrast, inkOn, position, palette, ofClass, formOf, CLASSES };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).colour = api;
}

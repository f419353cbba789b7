'use strict';
/** The arithmetic of the training view: scales of the health map, its axis of steps, where a finding points. Pure: no DOM.
 * The scales are those of draw/health.py, which sends the measures with the data. */
{
  const [EDGE, BEYOND] = [0.06, 0.2]; // how strongly the edge of the healthy band is coloured, and what lies just beyond it

  const WORDS = { nan: NaN, inf: Infinity, '-inf': -Infinity };
  /** A number as it was measured: the data say 'inf' and 'nan' in words, null is "not seen". */
  const value = (v) => (typeof v === 'string' ? WORDS[v] : v);
  const seen = (v) => v !== null && v !== undefined && !Number.isNaN(v);

  /** 0 at the low end of the scale, 1 at the high end. @returns {?number} null: not seen */
  function position(measure, raw) {
    const v = value(raw);
    if (!seen(v) || (measure.log && v < 0)) return null;
    const read = measure.log ? Math.log10 : (x) => x;
    const [low, high] = [read(measure.low), read(measure.high)];
    return Math.min(Math.max((read(v) - low) / (high - low), 0), 1);
  }

  /** How far from healthy, −1 … 1; on a scale without a band the position. @returns {?number} null: not seen */
  function tone(measure, raw) {
    const p = position(measure, raw);
    if (p === null || !measure.band) return p;
    const [low, high] = measure.band.map((end) => position(measure, end));
    if (p > high) return BEYOND + ((1 - BEYOND) * (p - high)) / (1 - high);
    if (p < low) return -BEYOND - ((1 - BEYOND) * (low - p)) / low;
    return (EDGE * (low === 0 ? p - low : 2 * p - low - high)) / (high - low);
  }

  /** 'low', 'high', 'healthy', or '' where nothing can be said. */
  function verdict(measure, raw) {
    const v = value(raw);
    if (!seen(v) || !measure.band) return '';
    return v > measure.band[1] ? 'high' : v < measure.band[0] ? 'low' : 'healthy';
  }

  /**
   * The axis that map and curves share: column j of the map lies between j·cell and (j + 1)·cell, and a step of the curve
   * stands between the columns that were looked at before and after it.
   * @param {number[]} columns steps that were looked at @param {number[]} steps steps of the curve @param {number} width
   */
  function axis(columns, steps, width) {
    const first = Math.min(...[columns[0], steps[0]].filter(seen));
    const last = Math.max(...[columns.at(-1), steps.at(-1)].filter(seen));
    const cell = columns.length ? width / columns.length : 0;
    const knots = columns.map((step, j) => [step, (j + 0.5) * cell]);
    if (!columns.length || first < columns[0]) knots.unshift([first, 0]);
    if (!columns.length || last > columns.at(-1)) knots.push([last, width]);
    const x = (step) => {
      if (knots.length === 1 || step <= knots[0][0]) return knots[0][1];
      const at = knots.findIndex(([s]) => s >= step);
      if (at < 0) return knots.at(-1)[1];
      const [[s0, x0], [s1, x1]] = [knots[at - 1], knots[at]];
      return s1 > s0 ? x0 + ((x1 - x0) * (step - s0)) / (s1 - s0) : x1;
    };
    /** The step under a place: on the map the one of its column, else the nearest one of the curve. */
    const step = (px) =>
      columns.length
        ? columns[Math.min(Math.max(Math.floor(px / cell), 0), columns.length - 1)]
        : nearest(steps, (s) => Math.abs(x(s) - px));
    /** At most `most` steps to be written under the axis, evenly spread over its width. */
    const ticks = (most) => {
      const list = columns.length ? columns : Array.from({ length: most }, (_, i) => Math.round(first + ((last - first) * i) / (most - 1)));
      const count = Math.min(most, list.length);
      return [...new Set(Array.from({ length: count }, (_, i) => list[Math.round((i * (list.length - 1)) / Math.max(count - 1, 1))]))];
    };
    return { x, step, cell, right: width, ticks };
  }

  const nearest = (list, distance) => list.reduce((best, one) => (best === null || distance(one) < distance(best) ? one : best), null);

  /** The index of the number nearest to another, −1 in an empty list. */
  const index = (list, to) => (list.length ? list.indexOf(nearest(list, (s) => Math.abs(s - to))) : -1);

  /** Which column each pixel column of a map shows: where several share one, the one farthest from healthy in any layer. */
  function shownColumns(count, pixels, rank) {
    if (count <= pixels) return null; // there is room for all
    return Array.from({ length: pixels }, (_, p) => {
      const from = Math.floor((p * count) / pixels);
      const to = Math.max(Math.floor(((p + 1) * count) / pixels), from + 1);
      let best = from;
      for (let j = from + 1; j < to; j += 1) if (rank(j) > rank(best)) best = j;
      return best;
    });
  }

  /** Where a finding points: 'conv2 at step 12' -> {layer: 'conv2', step: 12}; what the run does not know is null. */
  function place(where, evidence, layers) {
    const marks = (text) => (text ? text.split(/[\s,;()“”"']+/).map((word) => word.replace(/[.:]+$/, '')) : []);
    const words = new Set(marks(where));
    const named = layers.filter((layer) => words.has(layer) || [...words].some((word) => word.split(/[/@]/)[0] === layer));
    const layer = named.sort((a, b) => b.length - a.length)[0] ?? null;
    const told = /\b(?:step|iteration|batch)\s+(\d[\d,]*)/i.exec(where ?? '');
    const beside = evidence.find(([name]) => /^(first |at )?(step|iteration)\b/i.test(name) && !/s\b/.test(name));
    const digits = told?.[1] ?? beside?.[1] ?? '';
    const step = /^\d[\d,]*$/.test(digits) ? Number(digits.replaceAll(',', '')) : null;
    return { layer, step };
  }

  const api = { value, seen, position, tone, verdict, axis, index, shownColumns, place };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).health = api;
}

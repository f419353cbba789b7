'use strict';
/** The strokes of a brush: what was painted, undone and done again, and which pixels a stroke covers. Pure: no DOM. */
{
  const POINTS = 20000; // as many as the server takes

  const empty = () => ({ strokes: [], undone: [] });

  /** A new stroke of one point. */
  const begin = (state, fill, radius, point) => ({
    strokes: [...state.strokes, { fill, radius, points: [point] }],
    undone: [],
  });

  /** The last stroke goes on to a point; a step too short to be seen is left out, and so is all beyond the limit. */
  function extend(state, point) {
    const last = state.strokes.at(-1);
    if (!last) return state;
    const [x, y] = last.points.at(-1);
    const step = Math.hypot(point[0] - x, point[1] - y);
    if (step < Math.max(0.5, last.radius / 4) || count(state) >= POINTS) return state;
    return { strokes: [...state.strokes.slice(0, -1), { ...last, points: [...last.points, point] }], undone: [] };
  }

  const count = (state) => state.strokes.reduce((n, s) => n + s.points.length, 0);

  const undo = (state) =>
    state.strokes.length
      ? { strokes: state.strokes.slice(0, -1), undone: [...state.undone, state.strokes.at(-1)] }
      : state;

  const redo = (state) =>
    state.undone.length
      ? { strokes: [...state.strokes, state.undone.at(-1)], undone: state.undone.slice(0, -1) }
      : state;

  /** Back to the clean image; undo brings the last stroke back, step by step. */
  const reset = (state) => ({ strokes: [], undone: [...state.undone, ...state.strokes.slice().reverse()] });

  /**
   * The pixels whose centres lie within the radius of a stroke's line, from its point `from` on: the server's own rule.
   * @returns {number[]} indices into a map of `width` × `height`
   */
  function covered({ points, radius }, width, height, from = 0) {
    const found = new Set();
    const first = Math.max(from - 1, 0);
    for (let n = first; n === first || n + 1 < points.length; n += 1) {
      const [[ax, ay], [bx, by]] = [points[n], points[n + 1] ?? points[n]];
      const [dx, dy] = [bx - ax, by - ay];
      const length = dx * dx + dy * dy;
      const clip = (v, most) => Math.min(Math.max(v, 0), most);
      const [x0, x1] = [clip(Math.floor(Math.min(ax, bx) - radius), width), clip(Math.ceil(Math.max(ax, bx) + radius), width)];
      const [y0, y1] = [clip(Math.floor(Math.min(ay, by) - radius), height), clip(Math.ceil(Math.max(ay, by) + radius), height)];
      for (let y = y0; y < y1; y += 1) {
        for (let x = x0; x < x1; x += 1) {
          const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
          const t = length > 0 ? clip((px * dx + py * dy) / length, 1) : 0;
          if ((px - t * dx) ** 2 + (py - t * dy) ** 2 <= radius * radius) found.add(y * width + x);
        }
      }
    }
    return [...found];
  }

  const api = { empty, begin, extend, undo, redo, reset, count, covered };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).strokes = api;
}

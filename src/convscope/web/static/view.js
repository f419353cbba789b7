'use strict';
/** The arithmetic of the map's view: a window on points that pans and zooms. Pure: no DOM.
 *
 * A view {x, y, zoom} has the point (x, y) of the data in the middle of the canvas; at zoom 1 all points fit.
 */
{
  const ZOOM = [0.5, 400];

  /** The smallest box around points, never empty. @param {Array<[number, number]>} points */
  function bounds(points) {
    let [x0, y0, x1, y1] = [Infinity, Infinity, -Infinity, -Infinity];
    for (const [x, y] of points) {
      x0 = Math.min(x0, x);
      y0 = Math.min(y0, y);
      x1 = Math.max(x1, x);
      y1 = Math.max(y1, y);
    }
    if (x0 > x1) return { x: 0, y: 0, width: 1, height: 1 };
    return { x: (x0 + x1) / 2, y: (y0 + y1) / 2, width: Math.max(x1 - x0, 1e-9), height: Math.max(y1 - y0, 1e-9) };
  }

  /** Pixels for one unit of the data. Both axes have the same scale, so that distances mean what they say. */
  const scale = (view, box, width, height, margin = 28) =>
    view.zoom * Math.min((width - 2 * margin) / box.width, (height - 2 * margin) / box.height);

  /** Data to canvas; y points up. */
  const project = (view, k, width, height, [x, y]) => [width / 2 + (x - view.x) * k, height / 2 - (y - view.y) * k];

  /** Canvas to data. */
  const unproject = (view, k, width, height, [px, py]) => [view.x + (px - width / 2) / k, view.y - (py - height / 2) / k];

  /** Zoom by a factor so that what lies under the pointer stays there. */
  function zoomAt(view, k, width, height, pointer, factor) {
    const zoom = Math.min(Math.max(view.zoom * factor, ZOOM[0]), ZOOM[1]);
    const real = zoom / view.zoom;
    const [x, y] = unproject(view, k, width, height, pointer);
    return { zoom, x: x + (view.x - x) / real, y: y + (view.y - y) / real };
  }

  /** The nearest projected point within `reach` pixels, −1 if none. @param {Array<[number, number]>} projected */
  function nearest(projected, [px, py], reach) {
    let best = -1,
      least = reach * reach;
    for (let i = 0; i < projected.length; i += 1) {
      const d = (projected[i][0] - px) ** 2 + (projected[i][1] - py) ** 2;
      if (d <= least) [best, least] = [i, d];
    }
    return best;
  }

  /**
   * Which points get a thumbnail: those whose square of `side` pixels does not cover one chosen before.
   * @param {Array<[number, number]>} projected @param {number[]} candidates in order of preference
   */
  function uncovered(projected, candidates, side) {
    const grid = new Map(),
      chosen = [];
    const key = (x, y) => `${x},${y}`;
    for (const i of candidates) {
      const [x, y] = projected[i];
      const [cx, cy] = [Math.floor(x / side), Math.floor(y / side)];
      let free = true;
      for (let dx = -1; dx <= 1 && free; dx += 1) {
        for (let dy = -1; dy <= 1 && free; dy += 1) {
          const other = grid.get(key(cx + dx, cy + dy));
          free =
            other === undefined || Math.abs(projected[other][0] - x) >= side || Math.abs(projected[other][1] - y) >= side;
        }
      }
      if (!free) continue;
      grid.set(key(cx, cy), i);
      chosen.push(i);
    }
    return chosen;
  }

  const api = { bounds, scale, project, unproject, zoomAt, nearest, uncovered, ZOOM };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).view = api;
}

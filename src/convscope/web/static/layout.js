'use strict';
/** Places boxes from top to bottom along their connections. Pure: no DOM.
 *
 * Layered drawing (Sugiyama, Tagawa, Toda 1981), once in every open group: rank by longest path, order by barycentres, and
 * then positions that minimise the squared distance to the neighbours under the order's least distances (isotonic
 * regression by pooling adjacent violators). A connection that skips ranks gets an empty place in each of them, so that
 * it runs beside the boxes it passes: a residual shortcut is seen as one. Where a connection enters or leaves an open
 * group, the group has a port.
 */
{
  const GAP = { row: 26, column: 22, lane: 16, inside: 16, head: 26 };

  /**
   * @param root nested {key, children?} ; a box without children has its size in `size(node)` -> [width, height]
   * @param {Array<{from: string, to: string}>} edges between boxes without children
   * @returns {{width, height, boxes: Array<{key, x, y, width, height, depth, node}>, lines: Array<{from, to, points, skip}>}}
   */
  function layout(root, edges, size) {
    const levels = new Map(); // container key -> links {a, b, from, to}
    const path = paths(root);
    for (const edge of edges) route(edge, path, levels);
    const placed = arrange(root, levels, size);
    const out = { width: placed.width, height: placed.height, boxes: [], lines: [] };
    collect(placed, 0, 0, 0, out);
    return out;
  }

  /** key of each box without children -> the containers around it, from the root inwards, and itself at the end. */
  function paths(root) {
    const found = new Map();
    const walk = (node, above) => {
      if (node.children) node.children.forEach((child) => walk(child, [...above, node.key]));
      else found.set(node.key, [...above, node.key]);
    };
    walk(root, []);
    return found;
  }

  /** Cut a connection into one link for every container that it crosses. */
  function route(edge, path, levels) {
    const [a, b] = [path.get(edge.from), path.get(edge.to)];
    if (!a || !b) return;
    let shared = 0;
    while (a[shared + 1] === b[shared + 1]) shared += 1;
    const add = (container, from, to) => {
      if (!levels.has(container)) levels.set(container, new Map());
      levels
        .get(container)
        .set(`${from}\n${to}\n${edge.from}`, { a: from, b: to, source: edge.from, from: edge.from, to: edge.to });
    };
    add(a[shared], a[shared + 1], b[shared + 1]);
    for (let i = shared + 1; i < a.length - 1; i += 1) add(a[i], a[i + 1], `out:${edge.from}`);
    for (let i = shared + 1; i < b.length - 1; i += 1) add(b[i], `in:${edge.from}`, b[i + 1]);
  }

  /** Lay out one container: its children first, then their places in it. */
  function arrange(container, levels, size) {
    const links = [...(levels.get(container.key) ?? new Map()).values()];
    const items = new Map();
    for (const node of container.children) {
      const inner = node.children ? arrange(node, levels, size) : null;
      const [width, height] = inner ? [inner.width, inner.height] : size(node);
      items.set(node.key, { key: node.key, node, inner, width, height, ports: inner?.ports ?? new Map() });
    }
    for (const link of links) {
      for (const end of [link.a, link.b]) {
        if (!items.has(end)) items.set(end, { key: end, port: true, width: 0, height: 0, ports: new Map() });
      }
    }
    const ranks = rank(items, links);
    const chains = links.map((link) => lane(link, items, ranks));
    reorder(ranks, chains);
    position(ranks, chains);
    return measure(container, ranks, chains, links);
  }

  /** Longest path from the top. Entry ports are alone in the first rank, exit ports in the last. */
  function rank(items, links) {
    const level = new Map(),
      next = new Map();
    for (const link of links) next.set(link.a, [...(next.get(link.a) ?? []), link.b]);
    const entered = [...items.keys()].some((key) => key.startsWith('in:'));
    for (const item of items.values()) level.set(item.key, item.port && item.key.startsWith('in:') ? 0 : entered ? 1 : 0);
    // Children come in order of execution and every link points forwards, so one pass is enough.
    for (const key of [...items.keys()].sort((a, b) => key2(a) - key2(b))) {
      for (const to of next.get(key) ?? []) level.set(to, Math.max(level.get(to), level.get(key) + 1));
    }
    const last = Math.max(0, ...[...items.values()].filter((i) => !i.port).map((i) => level.get(i.key))) + 1;
    for (const key of items.keys()) if (key.startsWith('out:')) level.set(key, last);
    const ranks = [];
    for (const item of items.values()) {
      item.level = level.get(item.key);
      (ranks[item.level] ??= []).push(item);
    }
    return Array.from(ranks, (row) => row ?? []);
  }

  const key2 = (key) => (key.startsWith('in:') ? 0 : key.startsWith('out:') ? 2 : 1); // a stable sort keeps the rest as it is

  /** The items that a link runs through: its ends, and an empty place in every rank between them. */
  function lane(link, items, ranks) {
    const [first, last] = [items.get(link.a), items.get(link.b)];
    const chain = [first];
    for (let level = first.level + 1; level < last.level; level += 1) {
      const place = { key: null, dummy: true, level, width: 0, height: 0, ports: new Map() };
      ranks[level].push(place);
      chain.push(place);
    }
    chain.push(last);
    return { source: link.source, stops: chain };
  }

  /** How strongly an item is drawn to a neighbour: boxes to boxes, lanes to their own line and the box they come from. */
  const pull = (self, other, above) => (self.dummy ? (other.dummy ? 6 : above ? 2 : 0.3) : other.dummy ? 0.001 : 2);

  /** Neighbours of every item: [item, offset of the connection there, offset here, weight]. */
  function neighbours(chains) {
    const up = new Map(),
      down = new Map();
    const add = (map, key, value) => map.set(key, [...(map.get(key) ?? []), value]);
    for (const chain of chains) {
      for (let i = 1; i < chain.stops.length; i += 1) {
        const [a, b] = [chain.stops[i - 1], chain.stops[i]];
        const from = a.ports.get(`out:${chain.source}`) ?? 0,
          to = b.ports.get(`in:${chain.source}`) ?? 0;
        add(up, b, [a, from, to, pull(b, a, true)]);
        add(down, a, [b, to, from, pull(a, b, false)]);
      }
    }
    return { up, down };
  }

  function reorder(ranks, chains) {
    const { up, down } = neighbours(chains);
    ranks.forEach((row) =>
      row.forEach((item, i) => {
        item.order = i;
      }),
    );
    for (let sweep = 0; sweep < 6; sweep += 1) {
      const near = sweep % 2 ? down : up;
      for (const row of sweep % 2 ? [...ranks].reverse() : ranks) {
        const wish = new Map(
          row.map((item) => {
            const others = near.get(item) ?? [];
            const mean = others.reduce((s, [o]) => s + o.order, 0) / Math.max(others.length, 1);
            // On a tie the lane goes right of the box: shortcuts then all run on one side.
            return [item, (others.length ? mean : item.order) + (item.dummy ? 0.25 : 0)];
          }),
        );
        row.sort((a, b) => wish.get(a) - wish.get(b) || a.order - b.order);
        row.forEach((item, i) => {
          item.order = i;
        });
      }
    }
  }

  function position(ranks, chains) {
    const { up, down } = neighbours(chains);
    for (const row of ranks)
      row.forEach((item, i) => {
        item.x = i ? row[i - 1].x + distance(row[i - 1], item) : 0;
      });
    for (let sweep = 0; sweep < 100; sweep += 1) {
      const moved = Math.max(...[ranks, [...ranks].reverse()].map((rows) => Math.max(...rows.map(settle))));
      if (moved < 0.05) return;
    }

    /** Move the items of one rank to where their neighbours want them; how far did one go at most? */
    function settle(row) {
      const wishes = row.map((item) => {
        const others = [...(up.get(item) ?? []), ...(down.get(item) ?? [])];
        const weight = others.reduce((s, o) => s + o[3], 0);
        if (!weight) return [item.x, 0.01];
        const wish = others.reduce((s, [o, there, here, w]) => s + w * (o.x + there - here), 0) / weight;
        return [wish, item.dummy ? 0.001 : weight]; // where both want one place, the lane gives way
      });
      const places = isotonic(
        wishes,
        row.map((item, i) => (i ? distance(row[i - 1], item) : 0)),
      );
      const moved = Math.max(0, ...places.map((x, i) => Math.abs(x - row[i].x)));
      places.forEach((x, i) => {
        row[i].x = x;
      });
      return moved;
    }
  }

  const distance = (a, b) => a.width / 2 + b.width / 2 + (a.dummy || b.dummy || a.port || b.port ? GAP.lane : GAP.column);

  /**
   * min Σ wᵢ (xᵢ − dᵢ)² subject to xᵢ₊₁ − xᵢ ≥ sᵢ₊₁, exactly: pool adjacent violators of d minus the running distances.
   * @param {Array<[number, number]>} wishes d and w @param {number[]} distances to the one before
   */
  function isotonic(wishes, distances) {
    const shifts = [];
    distances.reduce((sum, s, i) => (shifts[i] = sum + s), 0);
    const blocks = [];
    wishes.forEach(([d, w], i) => {
      blocks.push({ sum: w * (d - shifts[i]), weight: w, n: 1 });
      while (blocks.length > 1) {
        const [a, b] = blocks.slice(-2);
        if (a.sum / a.weight <= b.sum / b.weight) break;
        blocks.splice(-2, 2, { sum: a.sum + b.sum, weight: a.weight + b.weight, n: a.n + b.n });
      }
    });
    return blocks.flatMap((b) => Array(b.n).fill(b.sum / b.weight)).map((x, i) => x + shifts[i]);
  }

  /** Heights of ranks, size of the container, and its ports' offsets from its middle. */
  function measure(container, ranks, chains, links) {
    const all = ranks.flat();
    const left = Math.min(0, ...all.map((i) => i.x - i.width / 2)),
      right = Math.max(0, ...all.map((i) => i.x + i.width / 2));
    const nested = container.key !== '/';
    const pad = nested ? GAP.inside : 0;
    const width = right - left + 2 * pad;
    let y = nested ? GAP.head : 0;
    for (const row of ranks) {
      const height = Math.max(0, ...row.map((i) => i.height));
      for (const item of row) Object.assign(item, { x: item.x - left + pad, top: y, bottom: y + height });
      y += height + (row.every((i) => i.port) ? GAP.row / 2 : GAP.row);
    }
    const height = y - GAP.row + (nested ? GAP.inside / 2 : 0);
    const ports = new Map();
    for (const item of all) {
      if (!item.port) continue;
      ports.set(item.key, item.x - width / 2);
      item.top = item.bottom = item.key.startsWith('in:') ? 0 : height;
    }
    return { node: container, width, height, ports, items: all.filter((i) => i.node), chains, links };
  }

  /** Absolute places, from the outside in. */
  function collect(placed, x0, y0, depth, out) {
    for (const item of placed.items) {
      const y = y0 + item.top + (item.bottom - item.top - item.height) / 2;
      const box = {
        key: item.key,
        node: item.node,
        x: x0 + item.x - item.width / 2,
        y,
        width: item.width,
        height: item.height,
        depth,
      };
      out.boxes.push(box);
      if (item.inner) collect(item.inner, box.x, box.y, depth + 1, out);
    }
    placed.chains.forEach((chain, i) => {
      const points = chain.stops.flatMap((item, at) => {
        if (item.dummy)
          return [
            [x0 + item.x, y0 + item.top],
            [x0 + item.x, y0 + item.bottom],
          ];
        const middle = (item.top + item.bottom) / 2,
          half = item.height / 2;
        const port = item.ports.get(`${at ? 'in' : 'out'}:${chain.source}`) ?? 0;
        return [[x0 + item.x + port, y0 + middle + (at ? -half : half)]];
      });
      out.lines.push({ from: placed.links[i].from, to: placed.links[i].to, points, skip: chain.stops.length > 2 });
    });
  }

  /** An SVG path through points with vertical tangents. @param {Array<[number, number]>} points */
  function curve(points) {
    const f = (v) => Math.round(v * 10) / 10;
    return points
      .map(([x, y], i) => {
        if (!i) return `M${f(x)} ${f(y)}`;
        const [px, py] = points[i - 1];
        if (Math.abs(px - x) < 0.5) return `L${f(x)} ${f(y)}`;
        const bend = Math.max(8, (y - py) / 2);
        return `C${f(px)} ${f(py + bend)} ${f(x)} ${f(y - bend)} ${f(x)} ${f(y)}`;
      })
      .join('');
  }

  const api = { layout, isotonic, curve };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).layout = api;
}

'use strict';
/** The arithmetic of one layer, worked out from its maps: which numbers meet, their products, their sum. Pure: no DOM.
 *
 * With `rows[i]` the input rows that output row i reads (and `columns` likewise; a row below 0 or beyond the end is padding):
 *
 *     forward    y[i, j]   = Σ_{t,u} x[rows[i][t], columns[j][u]] · w[t, u] + others + bias
 *     input      ∂L/∂x[p]  = Σ δ[i, j] · w[t, u] over all windows that have pixel p under tap (t, u)
 *     weights    ∂L/∂w[t, u] = Σ_{i,j} δ[i, j] · x[rows[i][t], columns[j][u]]
 *
 * A dense layer is Σ over all inputs; pooling takes the largest number of a window, or their mean.
 */
{
  const TARGET = { forward: 'y', input: 'dx', weights: 'dw' };

  /** Numbers out of an atlas or a server: base64 of little-endian floats. @returns {{shape: number[], at: Float64Array}} */
  function decode(map) {
    const bytes = Uint8Array.from(atob(map.data), (c) => c.charCodeAt(0));
    const width = map.type === 'f4' ? 4 : 8;
    const view = new DataView(bytes.buffer);
    const at = new Float64Array(bytes.length / width);
    for (let i = 0; i < at.length; i += 1) at[i] = width === 4 ? view.getFloat32(4 * i, true) : view.getFloat64(8 * i, true);
    return { shape: map.shape, at };
  }

  /** All maps of an answer, decoded. */
  const open = (page) => ({
    ...page,
    maps: Object.fromEntries(Object.entries(page.maps).map(([name, map]) => [name, map ? decode(map) : null])),
  });

  const target = (page, direction) => page.maps[TARGET[direction]] ?? null;
  const count = (map) => map.at.length;
  /** How a vector is laid out to be drawn: in rows of equal length. @returns {[number, number]} rows and columns */
  function extent(map) {
    if (map.shape.length === 2) return [map.shape[0], map.shape[1]];
    const columns = Math.min(count(map), Math.max(10, Math.ceil(Math.sqrt(2 * count(map)))));
    return [Math.ceil(count(map) / columns), columns];
  }
  const flat = (map, position) => (map.shape.length === 2 ? position[0] * map.shape[1] + position[1] : position[0]);
  const place = (map, n) => (map.shape.length === 2 ? [Math.floor(n / map.shape[1]), n % map.shape[1]] : [n]);
  const value = (map, position) => map.at[flat(map, position)];
  const inside = (map, position) => position.every((p, axis) => p >= 0 && p < map.shape[axis]);

  /** Where the number of the largest size stands. */
  function largest(map) {
    let best = 0;
    for (let i = 1; i < map.at.length; i += 1) if (Math.abs(map.at[i]) > Math.abs(map.at[best])) best = i;
    return place(map, best);
  }

  /** The place after a move, kept inside the map. */
  function moved(map, position, down, right) {
    if (map.shape.length === 2) {
      return [position[0] + down, position[1] + right].map((p, axis) => Math.min(Math.max(p, 0), map.shape[axis] - 1));
    }
    const n = position[0] + right + down * extent(map)[1];
    return [Math.min(Math.max(n, 0), count(map) - 1)];
  }

  const product = (left, right, more = {}) => ({ left, right, product: left * right, inside: true, ...more });
  const nothing = (more = {}) => ({ left: 0, right: 0, product: 0, inside: false, ...more });
  const total = (cells) => cells.reduce((sum, cell) => sum + cell.product, 0);

  /** x and the weight above it, for one output. */
  function window_(page, [i, j], right) {
    const { x } = page.maps;
    return page.rows[i].flatMap((y, t) =>
      page.columns[j].map((z, u) =>
        inside(x, [y, z])
          ? product(value(x, [y, z]), right(t, u), { from: [y, z], tap: [t, u] })
          : { ...nothing({ from: [y, z], tap: [t, u] }), right: right(t, u) },
      ),
    );
  }

  /** Every output whose window has pixel p in it, with the tap under which it lies there. */
  function windowsOver(page, [p, q]) {
    const found = [];
    page.rows.forEach((ys, i) =>
      ys.forEach((y, t) => {
        if (y !== p) return;
        page.columns.forEach((zs, j) =>
          zs.forEach((z, u) => {
            if (z === q) found.push({ at: [i, j], tap: [t, u] });
          }),
        );
      }),
    );
    return found;
  }

  /** First of the largest numbers inside the map, in row order, as in PyTorch. */
  function winner(cells) {
    let best = -1;
    cells.forEach((cell, n) => {
      if (cell.inside && (best < 0 || cell.left > cells[best].left)) best = n;
    });
    return best;
  }

  const conv = {
    forward(page, at) {
      const { kernel, others } = page.maps;
      const cells = window_(page, at, (t, u) => value(kernel, [t, u]));
      const parts = [[`Σ of the ${cells.length} products`, total(cells)]];
      if (others) parts.push([`the other ${page.inners - 1} channels`, value(others, at)]);
      if (page.bias !== null) parts.push(['bias', page.bias]);
      const marks = { x: cells.map((c) => c.from), kernel: cells.map((c) => c.tap) };
      return { cells, shape: kernel.shape, parts, marks, names: ['patch of x', 'kernel', 'products'] };
    },
    input(page, at) {
      const { kernel, delta, others_back: others } = page.maps;
      const over = new Map(windowsOver(page, at).map(({ at: from, tap }) => [tap.join(), from]));
      const cells = Array.from(kernel.at, (w, n) => {
        const tap = place(kernel, n);
        const from = over.get(tap.join());
        return from ? product(value(delta, from), w, { from, tap }) : { ...nothing({ tap }), right: w };
      });
      const used = cells.filter((c) => c.inside);
      const parts = [[`Σ of the ${used.length} products`, total(cells)]];
      if (others) parts.push([`the other filters`, value(others, at)]);
      const marks = { delta: used.map((c) => c.from), kernel: used.map((c) => c.tap) };
      return { cells, shape: kernel.shape, parts, marks, names: ['δ of the outputs it fed', 'kernel', 'products'] };
    },
    weights(page, [t, u]) {
      const { x, delta } = page.maps;
      const cells = Array.from(delta.at, (d, n) => {
        const [i, j] = place(delta, n);
        const from = [page.rows[i][t], page.columns[j][u]];
        return inside(x, from) ? product(d, value(x, from), { from }) : { ...nothing({ from }), left: d };
      });
      const marks = { x: cells.map((c) => c.from), kernel: [[t, u]], delta: [] };
      const parts = [[`Σ over the ${cells.length} positions`, total(cells)]];
      return { cells, shape: delta.shape, parts, marks, names: ['δ', 'x under this weight', 'products'] };
    },
  };

  const lies = (n) => (n ? (n === 1 ? 'the one window it lies in' : `Σ over the ${n} windows it lies in`) : 'no window reads it');

  const pool = {
    forward(page, at) {
      const { divisor } = page.maps;
      const share = page.mean ? 1 / value(divisor, at) : 1;
      const cells = window_(page, at, () => share);
      const shape = [page.rows[at[0]].length, page.columns[at[1]].length];
      const marks = { x: cells.map((c) => c.from) };
      if (page.mean) {
        const text = `Σ of the window, each times 1/${value(divisor, at)}`;
        return { cells, shape, parts: [[text, total(cells)]], marks, names: ['window of x', 'share', 'products'] };
      }
      const best = winner(cells);
      cells[best].winner = true;
      const parts = [[`the largest of ${cells.filter((c) => c.inside).length}`, cells[best].left]];
      return { cells, shape, parts, marks, names: ['window of x'] };
    },
    input(page, at) {
      const { delta, divisor } = page.maps;
      const cells = windowsOver(page, at).map(({ at: from }) => {
        if (page.mean) return product(value(delta, from), 1 / value(divisor, from), { from });
        const others = window_(page, from, () => 1);
        const won = others[winner(others)].from.join() === at.join();
        return product(value(delta, from), won ? 1 : 0, { from, winner: won });
      });
      const right = page.mean ? 'share' : 'won? 1 or 0';
      const parts = [[lies(cells.length), total(cells)]];
      const marks = { delta: cells.filter((c) => page.mean || c.winner).map((c) => c.from) };
      return { cells, shape: [1, cells.length], parts, marks, names: ['δ of its windows', right, 'products'] };
    },
  };

  const dense = {
    /** null where the weights of this output are not here: they are asked for. */
    forward(page, [j]) {
      const { x, row, weight, biases } = page.maps;
      if (!weight && j !== page.channel) return null;
      const cells = Array.from(x.at, (v, i) => product(v, weight ? value(weight, [j, i]) : row.at[i], { from: [i] }));
      const parts = [[`Σ of the ${cells.length} products`, total(cells)]];
      if (biases) parts.push(['bias', biases.at[j]]);
      return { cells, shape: x.shape, parts, marks: {}, names: ['x', 'weight', 'product'] };
    },
    input(page, [i]) {
      const { delta, column, weight } = page.maps;
      if (!weight && i !== page.inner) return null;
      const cells = Array.from(delta.at, (d, j) => product(d, weight ? value(weight, [j, i]) : column.at[j], { from: [j] }));
      const parts = [[`Σ of the ${cells.length} products`, total(cells)]];
      return { cells, shape: delta.shape, parts, marks: {}, names: ['δ', 'weight', 'product'] };
    },
    weights(page, [i]) {
      const { delta, x } = page.maps;
      const cells = [product(delta.at[page.channel], x.at[i], { from: [i] })];
      const parts = [[`δ of output ${page.channel} times x of input ${i}`, total(cells)]];
      return { cells, shape: [1], parts, marks: { x: [[i]], delta: [[page.channel]] }, names: ['δ', 'x', 'product'] };
    },
  };

  /**
   * One number worked out: `cells` (left · right = product), `parts` [text, number] that add up to `value`, and autograd's
   * `check`. null where more must be asked of the server.
   */
  function working(page, direction, position) {
    const how = { conv, pool, dense }[page.kind]?.[direction];
    const found = how ? how(page, position) : null;
    if (!found) return null;
    found.marks[TARGET[direction]] = [position];
    const sum = found.parts.reduce((s, [, part]) => s + part, 0);
    const check = value(target(page, direction), position);
    return { ...found, value: sum, check, difference: Math.abs(sum - check) };
  }

  /** How many cells of padding lie around x: [above, right, below, left]. */
  function margins(page) {
    if (!page.rows || !page.columns) return [0, 0, 0, 0];
    const [h, w] = page.maps.x.shape;
    const [ys, zs] = [page.rows.flat(), page.columns.flat()];
    const least = (list) => Math.max(0, -list.reduce((a, b) => Math.min(a, b), 0));
    const most = (list, n) => Math.max(0, list.reduce((a, b) => Math.max(a, b), 0) - n + 1);
    return [least(ys), most(zs, w), most(ys, h), least(zs)];
  }

  /** 'p:0,5,9:1.5;w:conv1:0,0,1,2:0.3' -> [{pixel, value}, {layer, weight, value}]; what cannot be read is left out. */
  function changes(text) {
    const found = [];
    for (const part of (text ?? '').split(';')) {
      const match = /^(?:p|w:(.+)):([\d,]+):([^:]+)$/.exec(part);
      if (!match || !Number.isFinite(Number(match[3]))) continue;
      const at = match[2].split(',').map(Number);
      found.push(
        match[1] === undefined
          ? { pixel: at, value: Number(match[3]) }
          : { layer: match[1], weight: at, value: Number(match[3]) },
      );
    }
    return found;
  }

  const nameOf = (change) => (change.pixel ? `p:${change.pixel}` : `w:${change.layer}:${change.weight}`);
  const written = (list) => list.map((change) => `${nameOf(change)}:${change.value}`).join(';');
  /** The list with one change made: a second change of the same number takes the place of the first. */
  const withChange = (list, change) => [...list.filter((c) => nameOf(c) !== nameOf(change)), change];

  const shapes = { count, extent, flat, place, value, inside, largest, moved, margins };
  const api = { decode, open, target, working, changes, written, nameOf, withChange, ...shapes };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).cells = api;
}

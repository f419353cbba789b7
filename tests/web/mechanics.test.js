'use strict';
// The arithmetic of the mechanics page, against loops written straight from the formulas.
// Turns red if, e.g., mechanics_cells.js leaves `others` out of conv.forward, takes the last instead of the first of equal
// maxima (`>` -> `>=` in winner), or reads x at [t, u] instead of under the window in conv.weights.
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');

const cells = require(path.join(__dirname, '../../src/convscope/web/static/mechanics_cells.js'));

const map = (rows) => ({ shape: [rows.length, rows[0].length], at: Float64Array.from(rows.flat()) });
const vector = (list) => ({ shape: [list.length], at: Float64Array.from(list) });
let seed = 7;
const random = () => {
  seed = (seed * 16807) % 2147483647;
  return Math.round((seed / 2147483647 - 0.5) * 64) / 8; // eighths: sums of them are exact
};
const field = (h, w) => map(Array.from({ length: h }, () => Array.from({ length: w }, random)));
const read = (m, i, j) => (i < 0 || j < 0 || i >= m.shape[0] || j >= m.shape[1] ? 0 : m.at[i * m.shape[1] + j]);

/** A convolution with stride 2, padding 1 and dilation 2 along rows; stride 1 along columns. */
function conv() {
  const rows = Array.from({ length: 3 }, (_, i) => [2 * i - 1, 2 * i + 1]);
  const columns = Array.from({ length: 4 }, (_, j) => [j, j + 1, j + 2]);
  const [x, kernel, others, delta, back] = [field(5, 6), field(2, 3), field(3, 4), field(3, 4), field(5, 6)];
  const y = field(3, 4);
  const dx = field(5, 6);
  const dw = field(2, 3);
  for (let i = 0; i < 3; i += 1) for (let j = 0; j < 4; j += 1) y.at[i * 4 + j] = 0.25 + others.at[i * 4 + j];
  dx.at.set(back.at);
  dw.at.fill(0);
  for (let i = 0; i < 3; i += 1)
    for (let j = 0; j < 4; j += 1)
      for (let t = 0; t < 2; t += 1)
        for (let u = 0; u < 3; u += 1) {
          const [p, q] = [2 * i - 1 + 2 * t, j + u];
          y.at[i * 4 + j] += read(x, p, q) * kernel.at[t * 3 + u];
          dw.at[t * 3 + u] += read(x, p, q) * delta.at[i * 4 + j];
          if (p >= 0 && p < 5 && q < 6) dx.at[p * 6 + q] += delta.at[i * 4 + j] * kernel.at[t * 3 + u];
        }
  const maps = { x, kernel, others, delta, others_back: back, y, dx, dw };
  return { kind: 'conv', rows, columns, bias: 0.25, inners: 2, maps };
}

const everywhere = (m) => Array.from({ length: m.at.length }, (_, n) => cells.place(m, n));

test('a convolution: every output, every input delta, every weight gradient', () => {
  const page = conv();
  for (const direction of ['forward', 'input', 'weights']) {
    for (const at of everywhere(cells.target(page, direction))) {
      const found = cells.working(page, direction, at);
      assert.equal(found.difference, 0, `${direction} ${at}`);
    }
  }
});

test('a convolution: padding is marked as such, and what is in play lies where it should', () => {
  const page = conv();
  const corner = cells.working(page, 'forward', [0, 0]);
  assert.deepEqual(corner.cells.map((c) => c.inside), [false, false, false, true, true, true]);
  assert.deepEqual(corner.marks.x[3], [1, 0]);
  assert.deepEqual(corner.marks.y, [[0, 0]]);
  assert.deepEqual(cells.margins(page), [1, 0, 1, 0]);
  // Row 0 lies between the windows' rows (−1, 1), (1, 3), (3, 5): nobody reads it.
  assert.equal(cells.working(page, 'input', [0, 2]).cells.filter((c) => c.inside).length, 0);
});

test('max pooling: the first of equal maxima wins, and gets all of delta', () => {
  const x = map([[1, 3, 3, 0], [0, 3, 2, 9]]);
  const page = {
    kind: 'pool', mean: false, rows: [[0, 1]], columns: [[0, 1], [2, 3]],
    maps: { x, y: map([[3, 9]]), delta: map([[5, 7]]), dx: map([[0, 5, 0, 0], [0, 0, 0, 7]]), divisor: null },
  };
  const found = cells.working(page, 'forward', [0, 0]);
  assert.deepEqual(found.cells.map((c) => Boolean(c.winner)), [false, true, false, false]);
  for (const at of everywhere(x)) assert.equal(cells.working(page, 'input', at).difference, 0, String(at));
  assert.equal(cells.working(page, 'input', [1, 1]).value, 0); // equal, but not the first
});

test('mean pooling over uneven tiles', () => {
  const page = {
    kind: 'pool', mean: true, rows: [[0]], columns: [[0, 1], [1, 2]],
    maps: { x: map([[1, 2, 6]]), y: map([[1.5, 4]]), delta: map([[2, 4]]), dx: map([[1, 3, 2]]), divisor: map([[2, 2]]) },
  };
  for (const direction of ['forward', 'input']) {
    for (const at of everywhere(cells.target(page, direction))) assert.equal(cells.working(page, direction, at).difference, 0);
  }
});

test('a dense layer: with all weights here, and with one row and one column of them', () => {
  const weight = map([[1, 2, 3], [4, 5, 6]]);
  const maps = {
    x: vector([1, -1, 2]), y: vector([5.5, 10.5]), delta: vector([1, 10]), dx: vector([41, 52, 63]), dw: vector([10, -10, 20]),
    row: vector([4, 5, 6]), column: vector([2, 5]), biases: vector([0.5, -0.5]), weight,
  };
  const page = { kind: 'dense', channel: 1, inner: 1, maps };
  for (const direction of ['forward', 'input', 'weights']) {
    for (const at of everywhere(cells.target(page, direction))) assert.equal(cells.working(page, direction, at).difference, 0);
  }
  const part = { ...page, maps: { ...maps, weight: null } };
  assert.equal(cells.working(part, 'forward', [1]).difference, 0);
  assert.equal(cells.working(part, 'forward', [0]), null); // another row: it must be asked for
  assert.equal(cells.working(part, 'input', [1]).difference, 0);
  assert.equal(cells.working(part, 'input', [2]), null);
});

test('numbers come as base64 of little-endian floats, in double or single precision', () => {
  assert.deepEqual(cells.decode({ shape: [2], type: 'f4', data: 'AACAPwAAAEA=' }), vector([1, 2]));
  assert.deepEqual(cells.decode({ shape: [1, 1], type: 'f8', data: 'AAAAAAAA4L8=' }), map([[-0.5]]));
});

test('moving stays on the map; a vector is walked in the rows that it is drawn in', () => {
  const m = map([[0, 0, -9], [0, 4, 0]]);
  assert.deepEqual(cells.largest(m), [0, 2]);
  assert.deepEqual(cells.moved(m, [0, 2], 0, 1), [0, 2]);
  assert.deepEqual(cells.moved(m, [0, 2], 1, -1), [1, 1]);
  const v = vector(Array(25).fill(0));
  assert.deepEqual(cells.extent(v), [3, 10]);
  assert.deepEqual(cells.moved(v, [3], 1, 0), [13]);
  assert.deepEqual(cells.moved(v, [23], 1, 0), [24]);
});

test('changes are read from the address and written back; the latest of a number counts', () => {
  const text = 'p:0,5,9:-1.5;w:features.0:1,2,0,0:0.25;w:conv:1:0,0,1,1:3';
  const list = cells.changes(text);
  assert.deepEqual(list, [
    { pixel: [0, 5, 9], value: -1.5 },
    { layer: 'features.0', weight: [1, 2, 0, 0], value: 0.25 },
    { layer: 'conv:1', weight: [0, 0, 1, 1], value: 3 },
  ]);
  assert.equal(cells.written(list), text);
  assert.deepEqual(cells.changes('p:0,5:9;nonsense;p:0,0,0:zero;w::1:2'), [{ pixel: [0, 5], value: 9 }]);
  assert.deepEqual(cells.changes(undefined), []);
  assert.equal(cells.written(cells.withChange(list, { pixel: [0, 5, 9], value: 2 })).split(';').length, 3);
});

'use strict';
// The page's arithmetic: receptive fields on pictures, tiles in sheets, the map's window.
// Turns red if, e.g., field.js forgets `+ at * field.stride[axis]`, or view.js flips the sign of y.
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');

const STATIC = path.join(__dirname, '../../src/convscope/web/static');
const field = require(path.join(STATIC, 'field.js'));
const view = require(path.join(STATIC, 'view.js'));

test('a receptive field lies where start + i·stride says, clipped to the image', () => {
  const f = { size: [11, 11], stride: [4, 4], start: [-2, -2] };
  const inner = field.box(f, 2, 3, [1, 3, 100, 200]);
  assert.deepEqual(
    [inner.top * 100, inner.height * 100, inner.left * 200, inner.width * 200].map(Math.round),
    [6, 11, 10, 11],
  );
  const corner = field.box(f, 0, 0, [1, 3, 100, 100]);
  assert.deepEqual([corner.top, Math.round(corner.height * 100)], [0, 9]);
  assert.equal(inner.whole, false);
});

test('a vector, a missing position and a whole-image field see everything', () => {
  for (const [f, y] of [
    [null, null],
    [{ size: [3, 3], stride: [1, 1], start: [0, 0] }, null],
    [{ size: null, stride: [1, 1], start: [0, 0] }, 4],
    [{ size: [null, null], stride: [32, 32], start: [0, 0] }, 0],
  ]) {
    assert.equal(field.box(f, y, y, [1, 3, 8, 8]).whole, true);
  }
});

test('on a square thumbnail an oblong image has bars beside it', () => {
  const part = field.onThumb({ top: 0, left: 0, height: 1, width: 0.5, whole: false }, [1, 3, 100, 50]);
  assert.deepEqual([part.top, part.left, part.height, part.width], [0, 0.25, 1, 0.25]);
});

test('a closer look holds the part, stays inside the picture and does not distort', () => {
  for (const part of [
    { left: 0, top: 0.95, width: 0.03, height: 0.05 },
    { left: 0.3, top: 0.4, width: 0.5, height: 0.2 },
    { left: 0, top: 0, width: 1, height: 1 },
  ]) {
    const { left, top, side, part: inside } = field.near(part);
    assert.ok(left >= 0 && top >= 0 && left + side <= 1 + 1e-9 && top + side <= 1 + 1e-9 && side >= 0.4);
    assert.ok(
      inside.left >= -1e-9 &&
        inside.top >= -1e-9 &&
        inside.left + inside.width <= 1 + 1e-9 &&
        inside.top + inside.height <= 1 + 1e-9,
    );
    assert.ok(Math.abs(left + inside.left * side - part.left) < 1e-9 && Math.abs(inside.height * side - part.height) < 1e-9);
  }
});

test('thumbnails: row by row, sheet by sheet', () => {
  const thumbs = { size: 64, columns: 20, per_sheet: 400 };
  assert.deepEqual(field.thumb(thumbs, 0), { sheet: 0, x: 0, y: 0 });
  assert.deepEqual(field.thumb(thumbs, 421), { sheet: 1, x: 64, y: 64 });
});

test('tiles: with and without a border round the sheet', () => {
  const sheet = { tile: [5, 7], gap: 1, columns: 4 };
  assert.deepEqual(field.tile(sheet, 5, 4 * 8 - 1), { x: 8, y: 6, width: 7, height: 5 });
  assert.deepEqual(field.tile(sheet, 5, 4 * 8 + 1), { x: 9, y: 7, width: 7, height: 5 });
});

test('small tiles are enlarged by whole steps, large ones shrunk to fit', () => {
  assert.deepEqual(
    [field.enlarge(3, 44), field.enlarge(44, 44), field.enlarge(88, 44), field.enlarge(40, 44)],
    [14, 1, 0.5, 1],
  );
});

test('zooming keeps the point under the pointer', () => {
  const box = view.bounds([
    [0, 0],
    [10, 5],
  ]);
  assert.deepEqual(box, { x: 5, y: 2.5, width: 10, height: 5 });
  let now = { x: 5, y: 2.5, zoom: 1 };
  const k = () => view.scale(now, box, 400, 300);
  const before = view.unproject(now, k(), 400, 300, [120, 40]);
  now = view.zoomAt(now, k(), 400, 300, [120, 40], 3);
  const after = view.unproject(now, k(), 400, 300, [120, 40]);
  assert.ok(Math.hypot(before[0] - after[0], before[1] - after[1]) < 1e-9);
  const back = view.project(now, k(), 400, 300, after);
  assert.ok(Math.hypot(back[0] - 120, back[1] - 40) < 1e-9);
  assert.equal(view.zoomAt({ x: 0, y: 0, zoom: 300 }, 1, 400, 300, [0, 0], 9).zoom, view.ZOOM[1]);
});

test('y points up, and all points fit at zoom 1', () => {
  const box = view.bounds([
      [0, 0],
      [10, 5],
    ]),
    all = { x: box.x, y: box.y, zoom: 1 },
    k = view.scale(all, box, 400, 300);
  const [low, high] = [view.project(all, k, 400, 300, [0, 0]), view.project(all, k, 400, 300, [10, 5])];
  assert.ok(low[1] > high[1]);
  for (const [x, y] of [low, high]) assert.ok(x >= 0 && x <= 400 && y >= 0 && y <= 300);
});

test('the nearest point within reach; thumbnails that do not cover each other', () => {
  const points = [
    [0, 0],
    [10, 0],
    [11, 0],
  ];
  assert.equal(view.nearest(points, [10.6, 1], 14), 2);
  assert.equal(view.nearest(points, [100, 100], 14), -1);
  const random = Array.from({ length: 300 }, (_, i) => [(i * 37.77) % 500, (i * 91.3) % 400]);
  const chosen = view.uncovered(
    random,
    random.map((_, i) => i),
    40,
  );
  assert.equal(chosen[0], 0);
  for (const a of chosen)
    for (const b of chosen) {
      if (a < b) assert.ok(Math.abs(random[a][0] - random[b][0]) >= 40 || Math.abs(random[a][1] - random[b][1]) >= 40);
    }
  assert.ok(chosen.length > 40);
});

test('no points at all still have bounds', () => assert.deepEqual(view.bounds([]), { x: 0, y: 0, width: 1, height: 1 }));

'use strict';
// Maps as colours and numbers, and the brush's strokes.
// Turns red if, e.g., maps.js takes `m.unit` for `m.method` in ends, forgets `Math.abs` in pixel, or strokes.js leaves
// `undone: []` out of begin (a redo after a new stroke would bring back what was thrown away), or `<=` becomes `<` in covered.
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');

const load = (name) => require(path.join(__dirname, '../../src/convscope/web/static', name));
const maps = load('maps.js');
const strokes = load('strokes.js');

test('colours: white at zero, the ends of the scale, and beyond them', () => {
  assert.deepEqual(maps.diverging(0), [255, 255, 255]);
  assert.deepEqual(maps.diverging(-1), [3, 57, 117]);
  assert.deepEqual(maps.diverging(7), [106, 24, 22]);
  const [above, below] = [maps.diverging(0.5), maps.diverging(-0.5)];
  assert.ok(above[0] > above[2] && below[2] > below[0]);
});

test('the scale ends at the 99.5 % quantile, as the pictures of convscope do', () => {
  assert.equal(maps.limit(Float32Array.from({ length: 201 }, (_, i) => i - 100)), 100);
  const outlier = new Float32Array(1600).fill(1);
  outlier[7] = -1000;
  assert.equal(maps.limit(outlier), 1);
  const single = new Float32Array(1600);
  single[7] = -3;
  assert.equal(maps.limit(single), 3); // nearly everywhere zero: the largest
  assert.equal(maps.limit(new Float32Array(0)), 0);
});

test('a painted map: alone, over an image, and of zeros', () => {
  const alone = maps.paint([0, 2, -4], 2);
  assert.deepEqual([...alone.slice(0, 4)], [255, 255, 255, 255]);
  assert.deepEqual([...alone.slice(4, 7)], [106, 24, 22]);
  assert.deepEqual([...alone.slice(8, 11)], [3, 57, 117]);
  const over = maps.paint([0, 2], 2, [0, 0, 0, 255, 255, 255, 255, 255]);
  assert.deepEqual([...over.slice(0, 3)], [70, 70, 70]); // the image, faded
  assert.equal(over[4], Math.round(255 * 0.15 + 106 * 0.85));
  assert.deepEqual([...maps.paint([0, 0], 0).slice(0, 3)], [255, 255, 255]);
});

test('a pixel says its value and its share of all', () => {
  assert.deepEqual(maps.pixel([1, -3, 0, 4], 2, 1, 0), { value: -3, share: 3 / 8 });
  assert.deepEqual(maps.pixel([0, 0], 2, 0, 0), { value: 0, share: 0 });
  assert.deepEqual([...maps.difference([3, 1], [1, 4])], [2, -3]);
});

test('targets of a method share a scale; all of a unit only when asked', () => {
  const list = [
    { method: 'lrp', unit: 'score', limit: 1 },
    { method: 'lrp', unit: 'score', limit: 3 },
    { method: 'cam', unit: 'score', limit: 90 },
    { method: 'gradient', unit: 'slope', limit: 0.5 },
  ];
  assert.deepEqual(maps.ends(list, false), [3, 3, 90, 0.5]);
  assert.deepEqual(maps.ends(list, true), [90, 90, 90, 0.5]);
});

test('strokes: painted, undone, done again, reset', () => {
  let state = strokes.begin(strokes.empty(), 'grey', 8, [1, 1]);
  state = strokes.extend(state, [2, 1]); // too near to be seen
  state = strokes.extend(state, [5, 1]);
  assert.deepEqual(state.strokes, [{ fill: 'grey', radius: 8, points: [[1, 1], [5, 1]] }]);
  state = strokes.begin(state, 'blur', 2, [9, 9]);
  state = strokes.undo(state);
  assert.equal(state.strokes.length, 1);
  assert.equal(strokes.redo(state).strokes[1].fill, 'blur');
  const other = strokes.begin(state, 'mean', 2, [3, 3]);
  assert.equal(strokes.redo(other), other); // what was undone before a new stroke is gone
  const clean = strokes.reset(other);
  assert.deepEqual(clean.strokes, []);
  assert.deepEqual(strokes.redo(strokes.redo(clean)).strokes, other.strokes);
  assert.equal(strokes.undo(strokes.empty()).strokes.length, 0);
  assert.deepEqual(strokes.extend(strokes.empty(), [1, 1]), strokes.empty());
});

test('a stroke covers the pixels whose centres it reaches, as the server says', () => {
  const line = { fill: 'grey', radius: 0.6, points: [[0.5, 0.5], [2.5, 0.5]] };
  assert.deepEqual(strokes.covered(line, 4, 2), [0, 1, 2]);
  assert.deepEqual(strokes.covered({ radius: 1, points: [[1.5, 1.5]] }, 3, 3).sort((a, b) => a - b), [1, 3, 4, 5, 7]);
  assert.deepEqual(strokes.covered({ radius: 2, points: [[-50, -50]] }, 3, 3), []);
  const bent = { radius: 1.2, points: [[1, 1], [6, 2], [3, 7]] };
  const whole = new Set(strokes.covered(bent, 9, 9));
  const parts = [1, 2].flatMap((from) => strokes.covered({ ...bent, points: bent.points.slice(0, from + 1) }, 9, 9, from));
  assert.deepEqual(new Set(parts), whole); // piece by piece, while it is painted, nothing is missed
});

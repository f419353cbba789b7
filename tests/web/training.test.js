'use strict';
// The arithmetic of the training view. Turns red if, e.g., `measure.log && v < 0` is left out of health.position (a negative
// size gets a colour), `(j + 0.5) * cell` -> `j * cell` in axis, `rank(j) > rank(best)` -> `<` in shownColumns, or the word
// boundary is left out of place ('conv1' found in 'conv12').
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');

const health = require(path.join(__dirname, '../../src/convscope/web/static/health.js'));

const RATIO = { key: 'update_ratio', low: 1e-6, high: 1, log: true, band: [1e-4, 1e-2] };
const DEAD = { key: 'dead', low: 0, high: 1, log: false, band: [0, 0.1] };
const PLAIN = { key: 'gradient_std', low: 1e-10, high: 100, log: true, band: null };
const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-12, `${a} is not ${b}`);

test('a scale has its ends, its middle, and no place for what was not seen', () => {
  near(health.position(RATIO, 1e-3), 0.5);
  assert.deepEqual([0, 1e-9, 5, 'inf'].map((v) => health.position(RATIO, v)), [0, 0, 1, 1]);
  assert.deepEqual([null, undefined, 'nan', -1].map((v) => health.position(RATIO, v)), [null, null, null, null]);
});

test('the healthy band is nearly the paper, what lies beyond it jumps out on its side', () => {
  near(health.tone(RATIO, 1e-3), 0);
  near(health.tone(RATIO, 1e-2), 0.06);
  near(health.tone(RATIO, 1), 1);
  near(health.tone(RATIO, 1e-6), -1);
  assert.ok(health.tone(RATIO, 0.9e-4) < -0.2 && health.tone(RATIO, 1.1e-2) > 0.2);
  assert.equal(health.tone(DEAD, 0), 0);
  near(health.tone(PLAIN, 1e-4), 0.5);
  assert.deepEqual([0.05, 0.2, null].map((v) => health.verdict(DEAD, v)), ['healthy', 'high', '']);
  assert.deepEqual([health.verdict(RATIO, 1e-5), health.verdict(RATIO, 'inf'), health.verdict(PLAIN, 1)], ['low', 'high', '']);
});

test('map and curve share one axis, however the steps were sampled', () => {
  const axis = health.axis([0, 1, 10, 100], Array.from({ length: 120 }, (_, i) => i), 400);
  assert.deepEqual([0, 1, 10, 100].map(axis.x), [50, 150, 250, 350]);
  assert.equal(axis.x(55), 300);
  assert.equal(axis.x(119), 400);
  assert.deepEqual([0, 99, 101, 399, 500, -3].map(axis.step), [0, 0, 1, 100, 100, 0]);
  for (const step of [0, 1, 10, 100]) assert.equal(axis.step(axis.x(step)), step);
  assert.deepEqual(axis.ticks(3), [0, 10, 100].sort((a, b) => a - b));
});

test('a curve alone, one step, and nothing at all have an axis too', () => {
  const alone = health.axis([], [5, 6, 15], 100);
  assert.deepEqual([5, 10, 15].map(alone.x), [0, 50, 100]);
  assert.equal(alone.step(90), 15);
  const one = health.axis([7], [7], 100);
  assert.equal(one.x(7), 50);
  assert.deepEqual(one.ticks(6), [7]);
  assert.equal(health.axis([], [], 100).step(3), null);
});

test('where columns are thinner than pixels the worst is shown, and each pixel shows one of its own', () => {
  assert.equal(health.shownColumns(3, 3, () => 0), null);
  const bad = [0, 0, 0, 9, 0, 0, 0, 1, 0, 5];
  assert.deepEqual(health.shownColumns(10, 5, (j) => bad[j]), [0, 3, 4, 7, 9]);
  assert.deepEqual(health.shownColumns(4, 3, (j) => j), [0, 1, 3]);
});

test('a finding points to the layer and the step that it names', () => {
  const layers = ['conv1', 'conv12', 'net.0', 'net.0.relu'];
  const at = (where, evidence = []) => health.place(where, evidence, layers);
  assert.deepEqual(at('conv12 at step 1,040'), { layer: 'conv12', step: 1040 });
  assert.deepEqual(at('conv1/3'), { layer: 'conv1', step: null });
  assert.deepEqual(at('layer net.0.relu, from step 7'), { layer: 'net.0.relu', step: 7 });
  assert.deepEqual(at('the loss'), { layer: null, step: null });
  assert.deepEqual(at('conv1', [['steps', '120'], ['first step', '12']]), { layer: 'conv1', step: 12 });
  assert.equal(health.place('conv12', [], ['conv1']).layer, null);
  assert.deepEqual(at('', [['dead', '0.62']]), { layer: null, step: null });
});

'use strict';
// Folding layers by module, and placing boxes. Turns red if, e.g., tree.split lets a run go on past another module (a cycle),
// or layout.isotonic returns its blocks without adding the shifts back (boxes overlap).
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');

const STATIC = path.join(__dirname, '../../src/convscope/web/static');
const tree = require(path.join(STATIC, 'tree.js'));
const { layout, isotonic, curve } = require(path.join(STATIC, 'layout.js'));

const layers = (spec) => spec.map(([address, ...parents]) => ({ address, parents: parents.length ? parents : ['input'] }));

const RESIDUAL = layers([
  ['stem.conv'],
  ['stem.relu', 'stem.conv'],
  ['block.0.conv1', 'stem.relu'],
  ['block.0.conv2', 'block.0.conv1'],
  ['block.0.add', 'block.0.conv2', 'stem.relu'],
  ['block.1.conv1', 'block.0.add'],
  ['block.1.add', 'block.1.conv1', 'block.0.add'],
  ['fc', 'block.1.add'],
]);

const INCEPTION = layers([
  ['mix.a', 'input'],
  ['mix.b.0', 'input'],
  ['mix.b.1', 'mix.b.0'],
  ['mix.c.0', 'input'],
  ['mix.c.1', 'mix.c.0'],
  ['mix.c.2', 'mix.c.1'],
  ['mix.cat', 'mix.a', 'mix.b.1', 'mix.c.2'],
  ['head', 'mix.cat'],
]);

const place = (list, open) => {
  const root = tree.build(list);
  const visible = tree.fold(root, new Set(open ?? tree.groups(root)));
  const edges = tree.edges(visible);
  visible.children.unshift({ key: 'input', name: 'input', layers: [], children: null });
  return { visible, edges, placed: layout(visible, edges, () => [100, 40]) };
};

test('layers fold by module', () => {
  const root = tree.build(RESIDUAL);
  assert.deepEqual(
    root.children.map((n) => n.key),
    ['stem/', 'block/', 'fc'],
  );
  assert.deepEqual(
    root.children[1].children.map((n) => [n.key, n.name]),
    [
      ['block.0/', 'block.0'],
      ['block.1/', 'block.1'],
    ],
  );
  assert.deepEqual(tree.groups(root), ['stem/', 'block/', 'block.0/', 'block.1/']);
});

test('a box around a single box is left out', () => {
  const root = tree.build(layers([['features.0.conv'], ['fc', 'features.0.conv']]));
  assert.deepEqual(
    root.children.map((n) => [n.key, n.name, n.children]),
    [
      ['features.0.conv', 'features.0.conv', null],
      ['fc', 'fc', null],
    ],
  );
});

test('whole levels unfold while they stay below the limit', () => {
  const root = tree.build(RESIDUAL);
  assert.deepEqual(tree.unfold(root, 2), []);
  assert.deepEqual(tree.unfold(root, 5), ['stem/', 'block/']);
  assert.deepEqual(tree.unfold(root, 60), ['stem/', 'block/', 'block.0/', 'block.1/']);
});

test('a module that is used twice becomes two runs, never a cycle', () => {
  const root = tree.build(
    layers([
      ['shared.conv'],
      ['shared.relu', 'shared.conv'],
      ['mid', 'shared.relu'],
      ['shared.conv:1', 'mid'],
      ['shared.relu:1', 'shared.conv:1'],
    ]),
  );
  assert.deepEqual(
    root.children.map((n) => n.key),
    ['shared/', 'mid', 'shared/2'],
  );
  assert.deepEqual(tree.edges(tree.fold(root, new Set())), [
    { from: 'input', to: 'shared/' },
    { from: 'shared/', to: 'mid' },
    { from: 'mid', to: 'shared/2' },
  ]);
});

test('folded boxes keep the connections of what they hold, once', () => {
  const { edges } = place(RESIDUAL, ['block/']);
  assert.deepEqual(edges, [
    { from: 'input', to: 'stem/' },
    { from: 'stem/', to: 'block.0/' },
    { from: 'block.0/', to: 'block.1/' },
    { from: 'block.1/', to: 'fc' },
  ]);
});

test('totals: unknown is not zero', () => {
  const list = [{ macs: 3 }, { macs: null }, { macs: 5 }];
  assert.equal(
    tree.total(list, (l) => l.macs),
    8,
  );
  assert.equal(
    tree.total(list, (l) => l.macs, 'max'),
    5,
  );
  assert.equal(
    tree.total(list, (l) => l.macs, 'mean'),
    4,
  );
  assert.equal(
    tree.total(list, () => null),
    null,
  );
});

for (const [name, list] of [
  ['residual', RESIDUAL],
  ['inception', INCEPTION],
]) {
  test(`${name}: boxes do not overlap, groups hold their boxes, connections run downwards and meet their ends`, () => {
    const { placed } = place(list);
    const boxes = placed.boxes.filter((b) => !b.node.children),
      groups = placed.boxes.filter((b) => b.node.children);
    assert.equal(boxes.length, list.length + 1);
    for (const a of boxes)
      for (const b of boxes) {
        if (a.key < b.key)
          assert.ok(
            a.x + a.width <= b.x || b.x + b.width <= a.x || a.y + a.height <= b.y || b.y + b.height <= a.y,
            `${a.key} on ${b.key}`,
          );
      }
    for (const group of groups)
      for (const box of boxes.filter((b) => b.key.startsWith(group.key.replace(/\/.*$/, '.')))) {
        assert.ok(
          box.x >= group.x &&
            box.x + box.width <= group.x + group.width &&
            box.y >= group.y &&
            box.y + box.height <= group.y + group.height,
          `${box.key} in ${group.key}`,
        );
      }
    for (const box of placed.boxes)
      assert.ok(
        box.x >= -1e-6 &&
          box.x + box.width <= placed.width + 1e-6 &&
          box.y >= 0 &&
          box.y + box.height <= placed.height + 1e-6,
      );
    for (const line of placed.lines) {
      for (let i = 1; i < line.points.length; i += 1)
        assert.ok(line.points[i][1] >= line.points[i - 1][1] - 1e-6, `${line.from} to ${line.to}`);
    }
    const starts = placed.lines.map((l) => l.points[0].map(Math.round).join()),
      ends = placed.lines.map((l) => l.points.at(-1).map(Math.round).join());
    for (const box of boxes) {
      if (box.key !== 'input')
        assert.ok(ends.includes([box.x + box.width / 2, box.y].map(Math.round).join()), `nothing reaches ${box.key}`);
      if (!['fc', 'head'].includes(box.key))
        assert.ok(
          starts.includes([box.x + box.width / 2, box.y + box.height].map(Math.round).join()),
          `nothing leaves ${box.key}`,
        );
    }
  });
}

test('a shortcut is a lane of its own beside the boxes it passes; the chain stays straight', () => {
  const { placed } = place(RESIDUAL);
  const shortcuts = placed.lines.filter((l) => l.skip);
  assert.equal(shortcuts.length, 2);
  const conv = placed.boxes.find((b) => b.key === 'block.0.conv1');
  assert.ok(shortcuts[0].points[1][0] > conv.x + conv.width);
  const middles = placed.boxes.filter((b) => !b.node.children).map((b) => b.x + b.width / 2);
  assert.ok(Math.max(...middles) - Math.min(...middles) < 1.5, middles.join());
});

test('isotonic places keep their distances and stay where they want if they can', () => {
  assert.deepEqual(
    isotonic(
      [
        [0, 1],
        [100, 1],
      ],
      [0, 10],
    ),
    [0, 100],
  );
  assert.deepEqual(
    isotonic(
      [
        [5, 1],
        [5, 1],
      ],
      [0, 10],
    ),
    [0, 10],
  );
  assert.deepEqual(
    isotonic(
      [
        [0, 3],
        [0, 1],
      ],
      [0, 8],
    ),
    [-2, 6],
  );
});

test('a curve is straight where it can be', () => {
  assert.equal(
    curve([
      [5, 0],
      [5, 10],
    ]),
    'M5 0L5 10',
  );
  assert.match(
    curve([
      [5, 0],
      [50, 40],
    ]),
    /^M5 0C5 20 50 20 50 40$/,
  );
});

test('a thousand layers in a row are placed in well under a second', () => {
  const list = layers(Array.from({ length: 1000 }, (_, i) => [`l${i}`, i ? `l${i - 1}` : 'input']));
  const before = performance.now();
  const { placed } = place(list);
  assert.equal(placed.boxes.length, 1001);
  assert.ok(performance.now() - before < 3000);
});

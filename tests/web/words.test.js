'use strict';
// How numbers, addresses, tables and answers of the search box are written.
// Turns red if, e.g., format.shape keeps the batch, rows.order puts unknown values first, or route.build forgets to encode.
const test = require('node:test');
const assert = require('node:assert/strict');
const path = require('node:path');

const STATIC = path.join(__dirname, '../../src/convscope/web/static');
const [format, route, rows, colour, find] = ['format', 'route', 'rows', 'colour', 'find'].map((f) =>
  require(path.join(STATIC, `${f}.js`)),
);

test('numbers', () => {
  assert.equal(format.count(105705600), '105,705,600');
  assert.equal(format.short(105705600), '105.7 M');
  assert.equal(format.short(999960), '1 M');
  assert.equal(format.short(999), '999');
  assert.equal(format.bytes(1238528), '1.239 MB');
  assert.equal(format.bytes(512), '512 B');
  assert.equal(format.number(-0.01234), '−0.0123');
  assert.equal(format.number(1234.5678), '1,235');
  assert.equal(format.number(1.2e-7), '1.2×10⁻⁷');
  assert.equal(format.number(-3e9), '−3×10⁹');
  assert.equal(format.number(0), '0');
  assert.equal(format.percent(0.9978), '99.8 %');
  assert.equal(format.percent(1), '100 %');
  assert.equal(format.percent(0.0001), '<0.1 %');
  assert.equal(format.percent(0.9999), '>99.9 %');
  for (const f of [
    format.count,
    format.short,
    format.bytes,
    format.number,
    format.percent,
    format.shape,
    format.fieldSize,
    format.duration,
  ]) {
    assert.equal(f(null), '–');
  }
});

test('shapes, fields, durations, plurals', () => {
  assert.equal(format.shape([1, 64, 55, 55]), '64×55×55');
  assert.equal(format.shape([1, 1000]), '1000');
  assert.equal(format.fieldSize({ size: [195, 195] }), '195×195');
  assert.equal(format.fieldSize({ size: [null, null] }), 'whole image');
  assert.equal(format.duration(75), '1 min 15 s');
  assert.equal(format.duration(59.96), '60 s');
  assert.equal(format.plural(1, 'image'), '1 image');
  assert.equal(format.plural(2000, 'class', 'classes'), '2,000 classes');
  assert.equal(format.operator('_native_batch_norm_legit_no_training'), 'batch_norm');
  assert.equal(format.operator('max_pool2d_with_indices'), 'max_pool2d');
  assert.equal(format.operator('conv2d'), 'conv2d');
});

test('an address survives the way through the fragment', () => {
  for (const address of ['features.0', 'relu:1', 'a b/c?d&e=f#g%h', 'Größe', '100%']) {
    const hash = route.build('unit', [address, 37], { sort: 'fire rate', empty: '', none: null, open: 'a/,b.c/2' });
    assert.deepEqual(route.parse(hash), {
      page: 'unit',
      args: [address, '37'],
      query: { sort: 'fire rate', open: 'a/,b.c/2' },
    });
  }
  assert.equal(route.build('unit', ['relu:1', 3]), '#/unit/relu:1/3');
  assert.deepEqual(route.parse(''), { page: '', args: [], query: {} });
  assert.deepEqual(route.parse('#/?colour=macs'), { page: '', args: [], query: { colour: 'macs' } });
  assert.deepEqual(route.parse('#/layer/50%').args, ['50%']);
  assert.equal(route.change(route.parse('#/map?view=PCA&class=3'), { class: null }), '#/map?view=PCA');
  assert.deepEqual(route.unitOf('layer4.1.conv2/37'), { address: 'layer4.1.conv2', unit: 37 });
  assert.deepEqual(route.unitOf('fc'), { address: 'fc', unit: null });
  assert.equal(route.slug('relu:1'), 'relu~1');
});

test('rows sort stably, numbers as numbers, the unknown last in both directions', () => {
  const values = [3, null, 10, 3, NaN, -1];
  assert.deepEqual(rows.order(values, false), [5, 0, 3, 2, 1, 4]);
  assert.deepEqual(rows.order(values, true), [2, 0, 3, 5, 1, 4]);
  assert.deepEqual(rows.order(['layer10', 'layer9', 'layer1'], false), [2, 1, 0]);
});

test('pages', () => {
  const all = Array.from({ length: 205 }, (_, i) => i);
  assert.deepEqual(rows.page(all, 3, 100), { at: 3, pages: 3, first: 200, rows: [200, 201, 202, 203, 204] });
  assert.equal(rows.page(all, 99, 100).at, 3);
  assert.equal(rows.page(all, 'nonsense', 100).at, 1);
  assert.deepEqual(rows.page([], 1, 100).rows, []);
});

test('CSV: quotes, line breaks, and nothing that a spreadsheet would run', () => {
  assert.equal(
    rows.csv(
      ['a', 'b'],
      [
        ['x, "y"', -1.5],
        ['=1+1', null],
        [['p', 'q'], 'two\nlines'],
      ],
    ),
    'a,b\r\n"x, ""y""",-1.5\r\n\'=1+1,\r\np q,"two\nlines"\r\n',
  );
});

test('unit columns: the asked-for first; a fire rate where only zeros are known', () => {
  const { names, columns, label } = rows.unitColumns({
    columns: { mean: [1, 2], zeros: [0.25, null], odd: [0, 0] },
    meanings: {},
  });
  assert.deepEqual(names, ['fires', 'mean', 'zeros', 'odd']);
  assert.deepEqual(columns.fires, [0.75, null]);
  assert.equal(label('fires'), 'fire rate');
  assert.deepEqual(rows.unitColumns({ columns: { zeros: [1], fires: [0.4] }, meanings: {} }).columns.fires, [0.4]);
});

test('colours: text reads on the ramp and class colours are seen on the ground', () => {
  for (const dark of [false, true]) {
    for (let t = 0; t <= 1; t += 0.02)
      assert.ok(colour.contrast(colour.ramp(t, dark), colour.inkOn(colour.ramp(t, dark))) >= 4.5, `t ${t} ${dark}`);
    const ground = dark ? [26, 31, 35] : [255, 255, 255];
    for (const hex of colour.CLASSES[dark ? 'dark' : 'light']) {
      const rgb = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
      assert.ok(colour.contrast(rgb, ground) >= 2.3, hex);
    }
  }
  assert.ok(colour.luminance(colour.ramp(0, false)) > colour.luminance(colour.ramp(1, false)));
  assert.ok(colour.luminance(colour.ramp(0, true)) < colour.luminance(colour.ramp(1, true)));
});

test('positions on the ramp, and the ten classes with most images', () => {
  assert.equal(colour.position(null, 0, 1, false), null);
  assert.equal(colour.position(100, 1, 10000, true), 0.5);
  assert.equal(colour.position(0, 1, 100, true), 0);
  assert.equal(colour.position(5, 5, 5, false), 1);
  const places = colour.palette([3, 3, 1, -1, 7, 7, 7], 2);
  assert.deepEqual(
    [...places],
    [
      [3, 0],
      [7, 1],
    ],
  );
});

const network = {
  classes: [],
  layers: [
    { address: 'layer1.0.conv1', operator: 'conv2d', units: 64, page: true },
    { address: 'layer1.0.conv2', operator: 'conv2d', units: 8, page: true },
    { address: 'fc', operator: 'linear', units: 10, page: false },
  ],
};
const collection = { ids: ['cat/0001.png', 'dog/conv1.png'], classes: ['cat', 'dog'] };

test('search: units, layers, images and classes; best first', () => {
  const found = (query) => find.find(query, network, collection).map((r) => `${r.kind} ${r.text}`);
  assert.deepEqual(found('conv1'), ['layer layer1.0.conv1', 'image dog/conv1.png']);
  assert.equal(found('conv1/37')[0], 'unit layer1.0.conv1/37');
  assert.equal(found('conv2 9')[0], undefined); // conv2 has eight units
  assert.deepEqual(found('cat'), ['class cat', 'image cat/0001.png']);
  assert.deepEqual(found('  '), []);
  assert.deepEqual(found('(*['), []);
  assert.equal(find.find('dog', network, collection)[0].query.class, 1);
  assert.equal(find.find('conv', network, null).length, 2);
});

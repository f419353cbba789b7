'use strict';
/** `#/?view=table`: the same layers as rows that sort and can be saved. */
{
  const {
    dom,
    dom: { h },
    format,
    rows,
    route: routes,
  } = window.convscope;

  /** Every column: key, heading, meaning, how to read it, how to write it. */
  const COLUMNS = [
    ['address', 'Layer', 'address of the call in the graph', (l) => l.address],
    ['operator', 'Operator', '', (l) => format.operator(l.operator)],
    [
      'output',
      'Output',
      'channels × height × width',
      (l) => l.output_shape.slice(1).reduce((a, b) => a * b, 1),
      null,
      (l) => format.shape(l.output_shape),
    ],
    ['parameters', 'Parameters', 'weights and biases', (l) => l.parameters, format.count],
    ['macs', 'MACs', 'multiply-accumulates for one image', (l) => l.macs, format.short],
    ['saved', 'Kept', 'bytes kept for the backward pass, one image', (l) => l.saved, format.bytes],
    [
      'field',
      'Field',
      'receptive field in input pixels',
      (l) => (l.field ? (l.field.size?.[0] ?? Infinity) : null),
      null,
      (l) => format.fieldSize(l.field),
    ],
    ['stride', 'Stride', 'input pixels between neighbouring positions', (l) => l.field?.stride?.[0] ?? null, format.number],
    ['coverage', 'Covers', 'share of the image that one position sees', (l) => l.field?.coverage ?? null, format.percent],
    ['zeros', 'Zeros', 'share of values that are zero over the collection', (l) => l.zeros ?? null, format.percent],
  ];

  function layersTable(ctx) {
    const { network, route } = ctx;
    const columns = COLUMNS.filter(
      ([key, , , read]) => key === 'address' || network.layers.some((l) => format.known(read(l))),
    );
    const by = columns.find(([key]) => key === route.query.sort);
    const down = route.query.down === '1';
    const order = by ? rows.order(network.layers.map(by[3]), down) : network.layers.map((_, i) => i);
    const head = h(
      'tr',
      {},
      columns.map(([key, text, meaning]) => {
        const on = by?.[0] === key;
        // First click: largest first for numbers, A to Z for text; then the other way; then the order of execution.
        const first = key === 'address' || key === 'operator' ? null : '1';
        const next = !on
          ? { sort: key, down: first }
          : down === (first === '1')
            ? { sort: key, down: down ? null : '1' }
            : { sort: null, down: null };
        return h(
          key === 'operator' ? 'th.text' : 'th',
          { 'scope': 'col', 'aria-sort': on ? (down ? 'descending' : 'ascending') : 'none', 'title': meaning || null },
          h(
            'button.sort',
            { type: 'button', id: `sort-${key}`, dataset: { testid: `sort-${key}` }, onclick: () => ctx.set(next) },
            text,
            h('span', { 'aria-hidden': 'true' }, on ? (down ? ' ↓' : ' ↑') : ''),
          ),
        );
      }),
    );
    const body = order.map((i) => row(network.layers[i], columns));
    const total = h(
      'tr',
      {},
      columns.map(([key], i) =>
        h(
          i ? 'td' : 'th',
          {},
          i === 0
            ? 'Total'
            : key === 'parameters'
              ? format.count(network.parameters)
              : key === 'macs'
                ? format.short(network.macs)
                : key === 'saved'
                  ? format.bytes(sum(network.layers, 'saved'))
                  : '',
        ),
      ),
    );
    const save = () => dom.download(`${network.name.replace(/[^\w.-]+/g, '_')}-layers.csv`, csv(network), 'text/csv');
    return h(
      'section',
      {},
      h(
        'div.toolbar',
        {},
        h('p.quiet', {}, 'Click a heading to sort. One image at a time; 1 MAC = 2 FLOPs.'),
        h('button', { type: 'button', id: 'csv', dataset: { testid: 'csv' }, onclick: save }, 'Save as CSV'),
      ),
      h(
        'div.table-scroll',
        {},
        h(
          'table.layers',
          { dataset: { testid: 'layers-table' } },
          h('thead', {}, head),
          h('tbody', {}, body),
          h('tfoot', {}, total),
        ),
      ),
    );
  }

  const sum = (layers, key) =>
    layers.some((l) => format.known(l[key])) ? layers.reduce((a, l) => a + (l[key] ?? 0), 0) : null;

  const row = (layer, columns) =>
    h(
      'tr',
      { dataset: { address: layer.address } },
      columns.map(([key, , , read, write, face]) => {
        const text = face ? face(layer) : write ? write(read(layer)) : read(layer);
        if (key === 'address')
          return h('th', { scope: 'row' }, h('a', { href: routes.build('layer', [layer.address]) }, text));
        return h(key === 'operator' ? 'td.text' : 'td', {}, text);
      }),
    );

  /** All facts, in exact numbers. */
  function csv(network) {
    const header = [
      'address',
      'operator',
      'output_shape',
      'parameters',
      'macs',
      'saved_bytes',
      'field_height',
      'field_width',
      'field_stride',
      'field_start',
      'field_coverage',
      'parents',
      'source',
    ];
    return rows.csv(
      header,
      network.layers.map((l) => [
        l.address,
        l.operator,
        l.output_shape.join('x'),
        l.parameters,
        l.macs,
        l.saved,
        l.field ? (l.field.size?.[0] ?? 'whole') : null,
        l.field ? (l.field.size?.[1] ?? l.field.size?.[0] ?? 'whole') : null,
        l.field?.stride?.[0] ?? null,
        l.field?.start?.[0] ?? null,
        l.field?.coverage ?? null,
        l.parents,
        l.source,
      ]),
    );
  }

  Object.assign(window.convscope, { layersTable });
}

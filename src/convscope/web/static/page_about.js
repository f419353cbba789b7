'use strict';
/** `#/about`: what was computed, on what, with what, and how to do it again. */
{
  const {
    dom,
    dom: { h },
    format,
  } = window.convscope;

  function render(ctx) {
    const { network, collection } = ctx;
    const made = network.made ?? {};
    const measured = network.layers.filter((l) => l.page);
    return h(
      'div',
      {},
      h(
        'div.page-head',
        {},
        h(
          'div',
          {},
          h('h1', {}, 'About this atlas'),
          h('p.lead', {}, `${network.name} looked at through ${format.plural(collection.count, 'image')}.`),
        ),
      ),
      h(
        'div.columns',
        {},
        dom.section(
          'The network',
          null,
          dom.facts([
            ['Opened as', network.reference || null],
            ['Print', network.print, 'a hash of graph and weights'],
            ['Input', format.shape(network.input_shape)],
            ['Preprocessing', network.preprocess],
            ['Parameters', format.count(network.parameters)],
            ['MACs', `${format.count(network.macs)} for one image`],
            ['Layers', format.count(network.layers.length)],
            ['Classes', network.classes.length ? format.count(network.classes.length) : null],
          ]),
          dom.notes(network.notes),
        ),
        dom.section(
          'The images',
          null,
          dom.facts([
            ['Collection', collection.name],
            ['Images', format.count(collection.count)],
            ['Classes', collection.classes.length ? format.count(collection.classes.length) : null],
            ['Named right', format.known(collection.accuracy) ? format.percent(collection.accuracy) : 'not known'],
            ['Predictions', collection.predictions?.kind],
            ['Pages of their own', format.plural(collection.pages?.length ?? 0, 'image')],
            ['Skipped', format.plural(collection.skipped?.length ?? 0, 'file')],
          ]),
          dom.notes(collection.notes),
        ),
      ),
      again(made),
      settings(made),
      longWork(network),
      measuredList(network, measured),
      skipped(collection),
      definitions(),
      keysHelp(),
    );
  }

  function again(made) {
    if (!made.command && !made.python) return null;
    return dom.section(
      'Make it again',
      null,
      made.command ? [h('h3', {}, 'In a terminal'), dom.code(made.command, 'the command')] : null,
      made.python ? [h('h3', {}, 'In Python'), dom.code(made.python, 'the Python lines')] : null,
    );
  }

  const settings = (made) =>
    dom.section(
      'How it was made',
      null,
      dom.facts([
        ['On', made.date],
        ['In', format.known(made.seconds) ? format.duration(made.seconds) : null],
        ['Seed', format.known(made.seed) ? String(made.seed) : null],
        ...Object.entries(made.versions ?? {}),
      ]),
    );

  /** Features and studies, kind by kind: how many jobs there are, which the last run left to the next, which do not apply. */
  function longWork(network) {
    const long = network.long_work;
    if (!long) return dom.section('Features and studies', null, dom.notice('Nothing was made: this atlas is of an earlier version. The command above adds them.'));
    const kinds = Object.keys(long.asked ?? {});
    const left = Object.values(long.missing ?? {}).reduce((a, b) => a + b, 0);
    const row = (kind) => {
      const missing = long.missing[kind] ?? 0;
      const cells = [long.asked[kind] - missing, missing, long.refused[kind] ?? 0];
      return h('tr', {}, h('th.text', { scope: 'row' }, kind), cells.map((n) => h('td', {}, format.count(n))));
    };
    return dom.section(
      'Features and studies',
      null,
      h(
        'p.quiet',
        {},
        long.features === 'top' ? 'Of each layer the sixteen most telling units; --features all makes the others. ' : '',
        long.features === 'none' ? 'No unit was asked about (--features none). ' : '',
        long.studies === false ? 'No layer was studied (--no-studies). ' : '',
        long.seconds ? `${format.duration(long.seconds)} of work so far.` : '',
      ),
      left
        ? dom.notice(`${format.count(left)} of ${format.count(long.jobs)} jobs are still to be done. The command above, run again, goes on with them.`)
        : null,
      kinds.length
        ? h(
            'div.table-scroll',
            {},
            h(
              'table.plain',
              { dataset: { testid: 'long-work' } },
              h('thead', {}, h('tr', {}, HEAD.map((text, i) => h(i ? 'th' : 'th.text', { scope: 'col' }, text)))),
              h('tbody', {}, kinds.map(row)),
            ),
          )
        : null,
    );
  }

  const HEAD = ['What', 'Jobs done', 'Missing', 'Layers to which it does not apply'];

  const measuredList = (network, measured) =>
    dom.section(
      'Measured layers',
      null,
      h(
        'p.quiet',
        {},
        measured.length === network.layers.length
          ? 'All layers.'
          : `${format.count(measured.length)} of ${format.plural(network.layers.length, 'layer')} were measured unit by unit; the others have sizes and costs only.`,
      ),
      h(
        'ul.inline',
        {},
        measured.map((l) => h('li', {}, h('a', { href: window.convscope.route.build('layer', [l.address]) }, l.address))),
      ),
    );

  function skipped(collection) {
    if (!collection.skipped?.length) return null;
    return dom.section(
      'Files that could not be used',
      null,
      h(
        'div.table-scroll',
        {},
        h(
          'table',
          { dataset: { testid: 'skipped' } },
          h('thead', {}, h('tr', {}, h('th.text', { scope: 'col' }, 'File'), h('th.text', { scope: 'col' }, 'Reason'))),
          h(
            'tbody',
            {},
            collection.skipped.map((x) => h('tr', {}, h('th.text', { scope: 'row' }, x.id), h('td.text', {}, x.reason))),
          ),
        ),
      ),
    );
  }

  const definitions = () =>
    dom.section(
      'What the words mean',
      null,
      dom.facts([
        ['Unit', 'one channel of a layer; where a layer has no map, one of its numbers'],
        ['MAC', 'one multiplication added to a sum, in a convolution or matrix product; two floating-point operations'],
        [
          'Receptive field',
          'the pixels of the input that can change the value at one position; at the border it reaches outside and is clipped',
        ],
        ['Kept for backward', 'bytes of values that training must hold for the backward pass, one image'],
        [
          'Fire rate',
          'share of values above zero; only where negative values cannot occur is it one minus the share of zeros',
        ],
      ]),
    );

  const KEYS = [
    ['/', 'search layers, units, images, classes'],
    ['?', 'this list'],
    ['← →', 'previous and next unit or image'],
    ['[ ]', 'previous and next layer'],
    ['arrows, space', 'on a mechanics page: to the next number, play or pause'],
    ['g then l, i, m, d, t, a', 'go to layers, images, map, depth, training, about'],
    ['t', 'light or dark'],
    ['Esc', 'close'],
  ];
  const keysHelp = () => dom.section('Keys', null, keyList());
  const keyList = () =>
    h(
      'dl.keys',
      {},
      KEYS.map(([key, what]) => h('div', {}, h('dt', {}, h('kbd', {}, key)), h('dd', {}, what))),
    );

  Object.assign(window.convscope.pages, { about: render });
  Object.assign(window.convscope, { keyList });
}

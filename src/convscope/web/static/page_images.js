'use strict';
/** `#/images`: the collection, by class, and where the network errs. */
{
  const {
    dom,
    dom: { h },
    format,
    rows,
    sprite,
    live,
    route: routes,
  } = window.convscope;
  const PAGE = 120;

  function render(ctx) {
    const {
      collection,
      route: { query },
    } = ctx;
    const wanted = query.class === undefined ? null : Number(query.class);
    const all = collection.ids.map((_, i) => i);
    const chosen = all.filter(
      (i) => (wanted === null || collection.labels[i] === wanted) && (query.only !== 'wrong' || ctx.right(i) === false),
    );
    const order = sorted(ctx, chosen, query.sort);
    const part = rows.page(order, query.page, PAGE);
    const judged = all.some((i) => ctx.right(i) !== null);
    const classes = [...new Set(collection.labels)].filter((k) => k >= 0).sort((a, b) => a - b);
    const controls = [
      classes.length > 1
        ? dom.select(
            'Class',
            [['', 'all'], ...classes.map((k) => [String(k), collection.classes[k] ?? `class ${k}`])],
            wanted === null ? '' : String(wanted),
            (v) => ctx.set({ class: v, page: null }),
            'class',
          )
        : null,
      collection.predictions
        ? dom.select(
            'Order',
            [
              ['', 'as in the collection'],
              ['sure', 'surest first'],
              ['unsure', 'least sure first'],
            ],
            query.sort ?? '',
            (v) => ctx.set({ sort: v, page: null }),
            'order',
          )
        : null,
      judged
        ? dom.choice(
            'Which',
            [
              ['all', 'All'],
              ['wrong', 'Wrong only'],
            ],
            query.only === 'wrong' ? 'wrong' : 'all',
            (v) => ctx.set({ only: v === 'all' ? null : v, page: null }),
            'only',
          )
        : null,
      live.state.may ? live.uploadButton(ctx) : null,
    ];
    const pages = () => dom.pager(part.at, part.pages, (page) => routes.change(ctx.route, { page }), 'images');
    return h(
      'div',
      {},
      h(
        'div.page-head',
        {},
        h(
          'div',
          {},
          h('h1', {}, 'Images'),
          h(
            'p.lead',
            {},
            `${collection.name}: ${format.plural(collection.count, 'image')}` +
              (format.known(collection.accuracy) ? `, ${format.percent(collection.accuracy)} named right` : ''),
          ),
        ),
        h('div.controls', {}, controls),
      ),
      h(
        'p.quiet',
        {},
        chosen.length === all.length
          ? `All ${format.plural(all.length, 'image')}.`
          : `${format.count(chosen.length)} of ${format.plural(all.length, 'image')}.`,
        collection.skipped?.length
          ? [' ', h('a', { href: '#/about' }, `${format.plural(collection.skipped.length, 'file')} could not be read.`)]
          : null,
      ),
      pages(),
      chosen.length
        ? h(
            'div.gallery',
            { dataset: { testid: 'gallery', count: chosen.length } },
            part.rows.map((i) => card(ctx, i)),
          )
        : dom.notice('No image is of this kind.'),
      part.pages > 1 ? pages() : null,
    );
  }

  function sorted(ctx, indices, how) {
    if (how !== 'sure' && how !== 'unsure') return indices;
    const probability = indices.map((i) => ctx.collection.predictions.probability[i]?.[0] ?? null);
    return rows.order(probability, how === 'sure').map((at) => indices[at]);
  }

  function card(ctx, index) {
    const right = ctx.right(index);
    const guess = ctx.guess(index);
    return h(
      'a.image-card',
      { href: routes.build('image', [index]), dataset: { index }, title: ctx.collection.ids[index] },
      sprite.thumb(ctx.collection, index, 96),
      guess
        ? h(
            'span.caption',
            {},
            right === null
              ? null
              : h(
                  `span.mark${right === null ? '' : right ? '.right' : '.wrong'}`,
                  { 'aria-label': right === null ? null : right ? 'right' : 'wrong' },
                  right === null ? '' : right ? '✓' : '✗',
                ),
            h('span.text', {}, guess.name),
            h('span.quiet', {}, right === false ? `is ${ctx.label(index)}` : format.percent(guess.probability)),
          )
        : h('span.caption', {}, h('span.text', {}, ctx.label(index) ?? ctx.collection.ids[index])),
    );
  }

  Object.assign(window.convscope.pages, { images: render });
}

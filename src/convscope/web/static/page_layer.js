'use strict';
/** `#/layer/ADDRESS`: what do the units of a layer look for? Filters, and all units as rows or tiles. */
{
  const {
    dom,
    dom: { h },
    format,
    rows,
    sprite,
    chart,
    field,
    data,
    route: routes,
  } = window.convscope;
  const PAGE = { rows: 50, tiles: 96 };

  async function render(ctx) {
    const { route } = ctx;
    const layer = ctx.layer(route.args[0]);
    const content = layer.page ? await data.load(`layer/${layer.slug}`) : null;
    return h(
      'div',
      {},
      head(ctx, layer),
      content
        ? [
            filters(layer, content),
            await window.convscope.layerPictures(ctx, layer),
            await window.convscope.activations(ctx, layer),
            units(ctx, layer, content),
            await window.convscope.layerStudies(ctx, layer),
            dom.notes(content.notes),
          ]
        : dom.notice(
            `Nothing was kept of the units of ${layer.address} over the collection. The About page says which layers were measured.`,
          ),
    );
  }

  /** The layer's name and facts, and the ways to its neighbours. */
  function head(ctx, layer) {
    const { previous, next } = neighbours(ctx, layer);
    const link = (to, text, key) =>
      to
        ? h('a.step', { href: routes.build('layer', [to.address]), title: `${to.address}  (key ${key})` }, text)
        : h('span.step.off', { 'aria-hidden': 'true' }, text);
    return h(
      'div',
      {},
      h(
        'div.page-head',
        {},
        h(
          'div',
          {},
          h('p.crumbs', {}, h('a', { href: '#/' }, ctx.network.name), ' / layer'),
          h('h1.address', {}, layer.address),
        ),
        h(
          'div.controls',
          {},
          h('a.button', { href: window.convscope.mechanicsLink(layer.address), dataset: { testid: 'to-mechanics' } }, 'Mechanics'),
          link(previous, '‹', '['),
          link(next, '›', ']'),
        ),
      ),
      h('div.layer-facts', {}, window.convscope.layerFacts(layer).slice(1)),
    );
  }

  function neighbours(ctx, layer) {
    const pages = ctx.network.layers.filter((l) => l.page || l === layer);
    const at = pages.indexOf(layer);
    return { previous: pages[at - 1] ?? null, next: pages[at + 1] ?? null };
  }

  function filters(layer, content) {
    const sheet = content.filters;
    if (!sheet) return null;
    const room = Math.max(...sheet.tile) <= 3 ? 36 : Math.max(...sheet.tile) <= 7 ? 44 : 56;
    const shown = Math.min(sheet.count, 256);
    return dom.section(
      'Filters',
      null,
      h(
        'p.quiet',
        {},
        [sheet.caption, sheet.scale].filter(Boolean).join('; '),
        shown < sheet.count ? ` The first ${shown} of ${format.count(sheet.count)}.` : '',
      ),
      h(
        'div.sheet',
        { dataset: { testid: 'filters', count: sheet.count } },
        Array.from({ length: shown }, (_, u) =>
          h(
            'a',
            {
              href: u < content.units ? routes.build('unit', [layer.address, u]) : null,
              title: `unit ${u}`,
            },
            sprite.tile(sheet, u, room, `filter of unit ${u}`),
          ),
        ),
      ),
    );
  }

  function units(ctx, layer, content) {
    const { query } = ctx.route;
    const { names, columns, meanings, label } = rows.unitColumns(content);
    const all = ['unit', ...names];
    const by = all.includes(query.sort) ? query.sort : (names[0] ?? 'unit');
    const down = query.down === undefined ? by !== 'unit' : query.down === '1';
    const view = query.view === 'tiles' ? 'tiles' : 'rows';
    const numbers = Array.from({ length: content.units }, (_, u) => u);
    const order = rows.order(by === 'unit' ? numbers : columns[by], down);
    const part = rows.page(order, query.page, PAGE[view]);
    const controls = [
      dom.select(
        'Sort by',
        all.map((n) => [n, label(n)]),
        by,
        (v) => ctx.set({ sort: v, down: null, page: null }),
        'sort',
      ),
      h(
        'button',
        {
          type: 'button',
          id: 'direction',
          dataset: { testid: 'direction' },
          title: 'Turn the order round',
          onclick: () => ctx.set({ sort: by, down: down ? '0' : '1', page: null }),
        },
        down ? 'largest first' : 'smallest first',
      ),
      dom.choice(
        'Units as',
        [
          ['rows', 'Rows'],
          ['tiles', 'Tiles'],
        ],
        view,
        (v) => ctx.set({ view: v === 'rows' ? null : v, page: null }),
        'as',
      ),
    ];
    const pages = () => dom.pager(part.at, part.pages, (page) => routes.change(ctx.route, { page }), 'units');
    const body =
      view === 'tiles'
        ? tiles(ctx, layer, content, part.rows, by, columns[by])
        : table(ctx, layer, content, part.rows, { names, columns, meanings, label, by });
    return dom.section(
      format.plural(content.units, 'unit'),
      controls,
      h(
        'p.quiet',
        {},
        `Measured on ${format.plural(content.count, 'image')}${content.map ? `, each with ${content.map.join('×')} positions` : ''}. `,
        meanings[by] ? `Sorted by ${label(by)}: ${meanings[by]}.` : '',
      ),
      pages(),
      body,
      part.pages > 1 ? pages() : null,
    );
  }

  function table(ctx, layer, content, part, { names, columns, meanings, label, by }) {
    const shown = [...new Set([...(by === 'unit' ? [] : [by]), ...names])].slice(0, 6);
    const k = Math.min(content.top.k, 6);
    return h(
      'div.table-scroll',
      {},
      h(
        'table.units',
        { dataset: { testid: 'units' } },
        h(
          'thead',
          {},
          h(
            'tr',
            {},
            h('th', { scope: 'col' }, 'Unit'),
            h('th.text', { scope: 'col' }, `Top ${k} images`),
            shown.map((n) =>
              h('th', { 'scope': 'col', 'title': meanings[n] ?? null, 'aria-sort': n === by ? 'other' : null }, label(n)),
            ),
          ),
        ),
        h(
          'tbody',
          {},
          part.map((u) =>
            h(
              'tr',
              { dataset: { unit: u } },
              h(
                'th',
                { scope: 'row' },
                h(
                  'a.unit',
                  { href: routes.build('unit', [layer.address, u]) },
                  content.filters && u < content.filters.count ? sprite.tile(content.filters, u, 36, '') : null,
                  String(u),
                ),
              ),
              h('td.text', {}, h('div.strip', {}, strip(ctx, layer, content, u, k))),
              shown.map((n) => h('td', {}, cell(ctx, n, columns[n][u]))),
            ),
          ),
        ),
      ),
    );
  }

  function cell(ctx, name, value) {
    if (name === 'preferred') return value >= 0 ? (ctx.collection.classes[value] ?? `class ${value}`) : format.NONE;
    return name === 'fires' ? chart.share(value) : rows.isShare(name) ? format.percent(value) : format.number(value);
  }

  /** What a position sees, as a part of the thumbnail. */
  const seen = (ctx, layer, y, x) =>
    field.onThumb(field.box(layer.field, y, x, ctx.network.input_shape), ctx.network.input_shape);

  /** A unit's strongest images as small thumbnails with their receptive fields. */
  function strip(ctx, layer, content, unit, k) {
    const { image, y, x, value } = content.top;
    return image[unit].slice(0, k).flatMap((index, rank) =>
      index === null || index < 0
        ? []
        : [
            h(
              'a',
              {
                href: routes.build('image', [index]),
                title: `${ctx.collection.ids[index]}: ${format.number(value[unit][rank])}`,
              },
              sprite.thumb(ctx.collection, index, 44, seen(ctx, layer, y?.[unit]?.[rank], x?.[unit]?.[rank])),
            ),
          ],
    );
  }

  /** Every unit by what drove it most: the crop that the atlas kept, or the image with the field drawn on it. */
  function tiles(ctx, layer, content, part, by, values) {
    const { image, y, x } = content.top;
    return h(
      'div.tiles',
      { dataset: { testid: 'tiles' } },
      part.map((u) => {
        const best = image[u][0];
        const picture = content.crops
          ? sprite.tile(content.crops, u, 92, `strongest patch of unit ${u}`)
          : best === null || best === undefined || best < 0
            ? h('span.thumb.none', { style: { width: '92px', height: '92px' } }, 'none')
            : sprite.closeup(ctx.collection, best, 92, seen(ctx, layer, y?.[u]?.[0], x?.[u]?.[0]));
        return h(
          'a.unit-tile',
          { href: routes.build('unit', [layer.address, u]), dataset: { unit: u } },
          picture,
          h(
            'span',
            {},
            h('b', {}, String(u)),
            values ? h('span.quiet', {}, by === 'fires' ? format.percent(values[u]) : cell(ctx, by, values[u])) : null,
          ),
        );
      }),
    );
  }

  function keys(ctx, key) {
    if (key !== '[' && key !== ']') return false;
    const { previous, next } = neighbours(ctx, ctx.layer(ctx.route.args[0]));
    const to = key === '[' ? previous : next;
    if (to) ctx.go(routes.build('layer', [to.address]));
    return true;
  }

  Object.assign(window.convscope.pages, { layer: Object.assign(render, { keys }) });
}

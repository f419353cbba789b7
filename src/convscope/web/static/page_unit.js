'use strict';
/** `#/unit/ADDRESS/37`: what drives one unit? Its strongest images with what it saw of them, and its numbers. */
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

  async function render(ctx) {
    const { layer, unit, content } = await read(ctx);
    const step = (to, text, name, key) =>
      to === null
        ? h('span.step.off', { 'aria-hidden': 'true' }, text)
        : h(
            'a.step',
            {
              href: routes.build('unit', [layer.address, to], keep(ctx)),
              title: `${name}  (key ${key})`,
              dataset: { testid: `unit-${name.split(' ')[0]}` },
            },
            text,
          );
    return h(
      'div',
      {},
      h(
        'div.page-head',
        {},
        h(
          'div.with-picture',
          {},
          content.filters && unit < content.filters.count
            ? sprite.tile(content.filters, unit, 66, `filter of unit ${unit}`)
            : null,
          h(
            'div',
            {},
            h(
              'p.crumbs',
              {},
              h('a', { href: '#/' }, ctx.network.name),
              ' / ',
              h('a', { href: routes.build('layer', [layer.address]) }, layer.address),
              ' / unit',
            ),
            h('h1.address', {}, `${layer.address}/${unit}`),
            h(
              'p.quiet',
              {},
              `unit ${format.count(unit + 1)} of ${format.count(content.units)} · ${format.operator(layer.operator)}` +
                `${layer.field ? ` · sees ${format.fieldSize(layer.field)}${layer.field.size ? ' pixels' : ''}` : ''}`,
            ),
          ),
        ),
        h(
          'div.controls',
          {},
          h(
            'a.button',
            {
              href: routes.build('mechanics', [layer.address], { k: unit, image: content.top?.image[unit]?.[0] }),
              title: 'every number of this unit, on its strongest image',
              dataset: { testid: 'to-mechanics' },
            },
            'Mechanics',
          ),
          step(unit > 0 ? unit - 1 : null, '‹', 'previous unit', '←'),
          step(unit + 1 < content.units ? unit + 1 : null, '›', 'next unit', '→'),
        ),
      ),
      await window.convscope.learned(ctx, layer, unit),
      top(ctx, layer, content, unit),
      h('div.columns', {}, distribution(ctx, content, unit), statistics(ctx, content, unit)),
      classMeans(ctx, content, unit),
      window.convscope.askFeature(ctx, `${layer.address}/${unit}`),
      dom.notes(content.notes),
    );
  }

  const keep = (ctx) => ({ counts: ctx.route.query.counts });

  async function read(ctx) {
    const layer = ctx.layer(ctx.route.args[0]);
    const unit = Number(ctx.route.args[1]);
    if (!layer.page) throw new Error(`Nothing was kept of the units of ${layer.address} over the collection.`);
    const content = await data.load(`layer/${layer.slug}`);
    if (!Number.isInteger(unit) || unit < 0 || unit >= content.units) {
      throw new Error(`${layer.address} has no unit “${ctx.route.args[1]}”: its units are 0 to ${content.units - 1}.`);
    }
    return { layer, unit, content };
  }

  /** The strongest images, each once, in order of rank. */
  function top(ctx, layer, content, unit) {
    const { image, value, y, x } = content.top;
    const places = image[unit].map((_, rank) => rank).filter((rank) => image[unit][rank] !== null && image[unit][rank] >= 0);
    const strongest = Math.max(...places.map((r) => Math.abs(value[unit][r])), 0);
    const cards = places.map((rank) => {
      const index = image[unit][rank];
      const at = [y?.[unit]?.[rank] ?? null, x?.[unit]?.[rank] ?? null];
      const box = field.onThumb(field.box(layer.field, at[0], at[1], ctx.network.input_shape), ctx.network.input_shape);
      const position = at[0] === null ? '' : `@${at[0]},${at[1]}`;
      return h(
        'li',
        {},
        h(
          'a',
          {
            href: routes.build('image', [index]),
            title: `${ctx.collection.ids[index]}\n${layer.address}/${unit}${position}`,
            dataset: {
              index,
              box: box.whole ? 'whole' : [box.left, box.top, box.width, box.height].map((v) => v.toFixed(3)).join(' '),
            },
          },
          sprite.thumb(ctx.collection, index, 112, box),
        ),
        h(
          'span.track',
          { 'aria-hidden': 'true' },
          h('span.bar', { style: { width: `${(100 * Math.abs(value[unit][rank])) / (strongest || 1)}%` } }),
        ),
        h('span.caption', {}, h('b', {}, format.number(value[unit][rank])), h('span.quiet', {}, ctx.label(index) ?? '')),
      );
    });
    const drawn = !layer.field
      ? ''
      : layer.field.size
        ? ' The frame is what the unit saw where it responded most.'
        : ' It sees the whole image.';
    return dom.section(
      `Top ${format.plural(places.length, 'image')}`,
      null,
      h(
        'p.quiet',
        {},
        `The largest response on each image, largest first, of ${format.plural(content.count, 'image')}.${drawn}`,
      ),
      places.length ? h('ol.top', { dataset: { testid: 'top' } }, cards) : dom.notice('No image was kept for this unit.'),
    );
  }

  function distribution(ctx, content, unit) {
    const histogram = content.histogram;
    const quantiles = content.quantiles;
    if (!histogram && !quantiles) return null;
    const linear = ctx.route.query.counts === 'linear';
    const controls = histogram
      ? dom.choice(
          'Counts',
          [
            ['log', 'log'],
            ['linear', 'linear'],
          ],
          linear ? 'linear' : 'log',
          (v) => ctx.set({ counts: v === 'log' ? null : v }),
          'counts',
        )
      : null;
    return dom.section(
      'How it responds',
      controls,
      histogram
        ? h(
            'figure',
            {},
            chart.histogram(histogram.counts[unit], histogram.low[unit], histogram.high[unit], !linear),
            h(
              'figcaption',
              {},
              `How often which value occurred, counts drawn ${linear ? 'linearly' : 'by logarithm'}. Point at a bar for its number.`,
            ),
          )
        : null,
      quantiles
        ? h('div.table-scroll', {}, h(
            'table.quantiles',
            { dataset: { testid: 'quantiles' } },
            h('caption', {}, 'Quantiles: this share of the values lies below'),
            h(
              'thead',
              {},
              h(
                'tr',
                {},
                quantiles.levels.map((q) => h('th', { scope: 'col' }, `${format.number(100 * q, 4)} %`)),
              ),
            ),
            h(
              'tbody',
              {},
              h(
                'tr',
                {},
                quantiles.values[unit].map((v) => h('td', {}, format.number(v))),
              ),
            ),
          ))
        : null,
    );
  }

  function statistics(ctx, content, unit) {
    const { names, columns, meanings, label } = rows.unitColumns(content);
    const table = names.map((name) => {
      const order = rows.order(columns[name], true);
      const value = columns[name][unit],
        ranked = format.known(value) && name !== 'preferred';
      return h(
        'tr',
        {},
        h('th', { scope: 'row' }, label(name), meanings[name] ? h('small', {}, meanings[name]) : null),
        h(
          'td',
          {},
          name === 'preferred'
            ? value >= 0
              ? className(ctx, value)
              : format.NONE
            : rows.isShare(name)
              ? format.percent(value)
              : format.number(value),
        ),
        h('td.quiet', {}, ranked ? `rank ${format.count(order.indexOf(unit) + 1)}` : ''),
      );
    });
    return dom.section(
      'Its numbers',
      null,
      h('table.stats', { dataset: { testid: 'stats' } }, h('tbody', {}, table)),
      h('p.quiet', {}, `Rank among the layer's ${format.plural(content.units, 'unit')}, largest first.`),
    );
  }

  function classMeans(ctx, content, unit) {
    const { class_means: all, class_top: best } = content;
    if (!all && !best) return null;
    // Of many classes the atlas keeps a unit's strongest only: pairs of class and mean response, largest first.
    const pairs = all
      ? rows.order(all[unit], true).map((k) => [k, all[unit][k]])
      : best.index[unit].map((k, i) => [k, best.value[unit][i]]);
    const known = pairs.filter(([, mean]) => format.known(mean));
    const shown = known.slice(0, 16);
    const scale = Math.max(...known.map(([, mean]) => Math.abs(mean)));
    const several = format.plural(all ? known.length : ctx.collection.classes.length, 'class', 'classes');
    return dom.section(
      'Mean by class',
      null,
      h(
        'p.quiet',
        {},
        all && shown.length === known.length
          ? `Mean response to the images of each of ${several}.`
          : `The ${shown.length} strongest of ${several}.`,
      ),
      chart.bars(
        shown.map(([k, value]) => ({ name: className(ctx, k), value, href: routes.build('images', [], { class: k }) })),
        scale,
        'class-means',
      ),
    );
  }

  const className = (ctx, k) => ctx.collection.classes[k] ?? `class ${k}`;

  function keys(ctx, key) {
    const layer = ctx.layer(ctx.route.args[0]);
    const unit = Number(ctx.route.args[1]);
    if (key === 'ArrowLeft' || key === 'ArrowRight') {
      const to = unit + (key === 'ArrowRight' ? 1 : -1);
      if (to >= 0 && to < layer.units) ctx.go(routes.build('unit', [layer.address, to], keep(ctx)));
      return true;
    }
    if (key !== '[' && key !== ']') return false;
    const pages = ctx.network.layers.filter((l) => l.page);
    const next = pages[pages.indexOf(layer) + (key === ']' ? 1 : -1)];
    if (next) ctx.go(routes.build('unit', [next.address, Math.min(unit, next.units - 1)], keep(ctx)));
    return true;
  }

  Object.assign(window.convscope.pages, { unit: Object.assign(render, { keys }) });
}

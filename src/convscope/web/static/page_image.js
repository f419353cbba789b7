'use strict';
/** `#/image/INDEX`: what does the network make of one image? Its answer, which pixels decided, and every layer's maps. */
{
  const {
    dom,
    dom: { h },
    format,
    sprite,
    chart,
    data,
    live,
    route: routes,
  } = window.convscope;
  const SHOWN = 120; // maps shown at once

  async function render(ctx) {
    const name = ctx.route.args[0];
    const uploaded = name?.startsWith('upload-') ?? false;
    const index = uploaded ? null : Number(name);
    if (!uploaded && !(Number.isInteger(index) && index >= 0 && index < ctx.collection.count)) {
      throw new Error(`There is no image “${name}”: they are numbered 0 to ${ctx.collection.count - 1}.`);
    }
    const { content, why } = await read(ctx, uploaded ? name : index);
    const heats = [...live.resultsOf(name), ...(content?.heatmaps ?? [])];
    return h(
      'div',
      {},
      head(ctx, index, content, name),
      h('div.image-top', {}, picture(ctx, index, content), answers(ctx, index, content)),
      why ? dom.notice(why) : null,
      dom.section(
        'Which pixels decided?',
        null,
        live.state.may ? live.form(ctx, name) : null,
        heats.length ? heatmaps(ctx, heats, content?.width) : h('p.quiet', {}, 'No heat-map was made for this image.'),
      ),
      window.convscope.compare(ctx, name, content),
      window.convscope.brush(ctx, name, content),
      await window.convscope.alike(ctx, index),
      content ? maps(ctx, content) : null,
    );
  }

  /** The image's page: from the atlas, or made by the server; if neither, why not. */
  async function read(ctx, image) {
    if (ctx.collection.pages?.includes(image)) return { content: await data.load(`image/${image}`), why: null };
    if (live.state.on) return { content: await live.image(image), why: null };
    return {
      content: null,
      why:
        `The atlas keeps heat-maps and activation maps of ${format.plural(ctx.collection.pages?.length ?? 0, 'image')}, and this is not one of ` +
        'them. Run “convscope serve” on the atlas folder: it makes any image’s page when asked.',
    };
  }

  function head(ctx, index, content, name) {
    const step = (to, text, key) =>
      index === null
        ? null
        : to < 0 || to >= ctx.collection.count
          ? h('span.step.off', { 'aria-hidden': 'true' }, text)
          : h('a.step', { href: routes.build('image', [to], ctx.route.query), title: `image ${to}  (key ${key})` }, text);
    return h(
      'div.page-head',
      {},
      h(
        'div',
        {},
        h(
          'p.crumbs',
          {},
          h('a', { href: '#/images' }, 'Images'),
          index === null ? ' / uploaded' : ` / ${format.count(index)}`,
        ),
        h('h1.address', {}, index === null ? (content?.id ?? name) : ctx.collection.ids[index]),
      ),
      h(
        'div.controls',
        {},
        h(
          'a.button',
          {
            href: routes.build('mechanics', [ctx.network.layers[0].address], { image: name }),
            title: 'every number of a layer on this image',
            dataset: { testid: 'to-mechanics' },
          },
          'Mechanics',
        ),
        live.state.may ? live.uploadButton(ctx) : null,
        step((index ?? 0) - 1, '‹', '←'),
        step((index ?? 0) + 1, '›', '→'),
      ),
    );
  }

  function picture(ctx, index, content) {
    if (!content) return h('figure.picture', {}, sprite.thumb(ctx.collection, index, 256), h('figcaption', {}, 'thumbnail'));
    return h(
      'figure.picture',
      {},
      photo(content.file, content.width, 300, 'The image as the network saw it'),
      h('figcaption', {}, `${content.width}×${content.height} pixels, as the network saw it`),
    );
  }

  /** A picture; a small one is enlarged in whole steps, its pixels left sharp. */
  function photo(file, width, room, alt) {
    const small = width && width * 2 <= room;
    const image = h(`img${small ? '.pixels' : ''}`, { src: file, alt, loading: 'lazy' });
    image.style.width = `${small ? Math.floor(room / width) * width : room}px`;
    return image;
  }

  function answers(ctx, index, content) {
    const { predictions } = ctx.collection;
    const own = content?.prediction ?? (index === null ? live.predictionOf(ctx.route.args[0]) : null);
    const top = own?.top ?? (index === null ? null : predictions?.top[index]);
    const probability = own?.probability ?? (index === null ? null : predictions?.probability[index]);
    const truth = index === null ? null : ctx.label(index);
    const right = index === null ? null : ctx.right(index);
    if (!top)
      return h(
        'div.answers',
        {},
        h('h2', {}, 'Prediction'),
        h('p.quiet', {}, 'None was kept for this image.'),
        truth ? h('p', {}, `Label: ${truth}`) : null,
      );
    const rows = top.map((k, i) => ({
      name: ctx.network.classes[k] ?? `class ${k}`,
      value: probability[i],
      text: format.percent(probability[i]),
      mark: truth && ctx.network.classes[k] === truth ? 'truth' : null,
    }));
    return h(
      'div.answers',
      {},
      h('h2', {}, 'Prediction'),
      h(
        'p.verdict',
        { dataset: { testid: 'verdict' } },
        h('b', {}, rows[0].name),
        right === null
          ? truth
            ? h('span.quiet', {}, ` labelled ${truth}`)
            : h('span.quiet', {}, ' no label to compare with')
          : right
            ? h('span.badge.right', {}, '✓ right')
            : h('span.badge.wrong', {}, `✗ wrong, it is ${truth}`),
      ),
      chart.bars(rows, 1, 'predictions'),
      h('p.quiet', {}, own?.kind ?? predictions?.kind ?? ''),
    );
  }

  function heatmaps(ctx, list, width) {
    const usual = width < 48 ? 'plain' : 'over'; // of a few large pixels, colour over brightness cannot be read
    const plain = (ctx.route.query.show ?? usual) === 'plain';
    return [
      h(
        'div.toolbar',
        {},
        dom.choice(
          'Draw',
          [
            ['over', 'Over the image'],
            ['plain', 'Map alone'],
          ],
          plain ? 'plain' : 'over',
          (v) => ctx.set({ show: v === usual ? null : v }),
          'draw',
        ),
      ),
      h(
        'div.heatmaps',
        { dataset: { testid: 'heatmaps' } },
        list.map((heat) =>
          h(
            'figure.heatmap',
            { dataset: { method: heat.method } },
            photo(plain ? heat.plain : heat.file, width, 230, `${heat.method} for ${heat.target}`),
            h(
              'figcaption',
              {},
              h('b', {}, heat.method),
              h('span', {}, `asked about ${heat.target}`),
              format.known(heat.score) ? h('span.quiet', {}, `score ${format.number(heat.score)}`) : null,
              h(
                'span.diverging',
                { title: `${heat.unit ?? 'value'}; zero in the middle` },
                h('span', {}, `−${format.number(heat.limit)}`),
                h('i', { 'aria-hidden': 'true' }),
                h('span', {}, `+${format.number(heat.limit)}`),
              ),
              proof(heat.proof),
              heat.settings ? h('small', {}, heat.settings) : null,
              dom.notes(heat.notes),
            ),
          ),
        ),
      ),
    ];
  }

  function proof(facts) {
    const entries = Object.entries(facts ?? {});
    if (!entries.length) return null;
    return h(
      'span.proof',
      { title: 'a check of the method on this very image' },
      entries.map(([k, v]) => `${k} ${typeof v === 'number' ? format.number(v) : v}`).join(' · '),
    );
  }

  function maps(ctx, content) {
    if (!content.maps?.length) return null;
    const chosen = content.maps.find((m) => m.layer === ctx.route.query.layer) ?? content.maps[0];
    const select = dom.select(
      'Layer',
      content.maps.map((m) => [m.layer, m.layer]),
      chosen.layer,
      (v) => ctx.set({ layer: v, page: null }),
      'maps-layer',
    );
    const part = window.convscope.rows.page(
      chosen.units.map((_, i) => i),
      ctx.route.query.page,
      SHOWN,
    );
    return dom.section(
      'What each layer makes of it',
      select,
      h(
        'p.quiet',
        {},
        chosen.caption ?? '',
        /scale/i.test(chosen.caption ?? '')
          ? ''
          : ` Scale ${chosen.signed ? '±' : '0 to '}${format.number(chosen.limit)}, one for all maps.`,
      ),
      dom.pager(part.at, part.pages, (page) => routes.change(ctx.route, { page }), 'maps'),
      h(
        'div.sheet',
        { dataset: { testid: 'maps', count: chosen.units.length } },
        part.rows.map((i) =>
          h(
            'a',
            {
              href: routes.build('unit', [chosen.layer, chosen.units[i]]),
              title: `${chosen.layer}/${chosen.units[i]}`,
            },
            sprite.tile(chosen, i, 76, `map of unit ${chosen.units[i]}`),
            h('small', {}, String(chosen.units[i])),
          ),
        ),
      ),
    );
  }

  function keys(ctx, key) {
    const index = Number(ctx.route.args[0]);
    if ((key !== 'ArrowLeft' && key !== 'ArrowRight') || !Number.isInteger(index)) return false;
    const to = index + (key === 'ArrowRight' ? 1 : -1);
    if (to >= 0 && to < ctx.collection.count) ctx.go(routes.build('image', [to], { ...ctx.route.query, page: null }));
    return true;
  }

  Object.assign(window.convscope.pages, { image: Object.assign(render, { keys }) });
}

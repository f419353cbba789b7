'use strict';
/** `#/map`: how does the network arrange the collection? One point an image; near points have like features. */
{
  const {
    dom,
    dom: { h, s },
    data,
    format,
    colour,
    sprite,
    theme,
    cloud: makeCloud,
    live,
    mapMade,
    route: routes,
  } = window.convscope;
  const LEGEND = 24;

  async function render(ctx) {
    const written = await data.load('map');
    const layer = ctx.route.query.layer ?? written.layer;
    if (layer === written.layer) return drawn(ctx, written, null);
    if (!live.state.may)
      return h(
        'div',
        {},
        head(ctx, layer, null),
        dom.notice(
          `The atlas was written with the map of ${written.layer}. Run “convscope serve” on its folder: it makes the map of any layer. `,
          h('a', { href: '#/map' }, `To the map of ${written.layer}`),
        ),
      );
    const made = mapMade(layer, () => {
      const now = routes.parse(location.hash);
      if (now.page !== 'map' || now.query.layer !== layer) return;
      if (now.query.view) ctx.refresh();
      else ctx.set({ x: null, y: null, zoom: null }); // another view comes into sight: all of it
    });
    if (made.page) return drawn(ctx, made.page, made.status);
    return h(
      'div',
      {},
      head(ctx, layer, null),
      h('p.quiet', {}, 'From what the layer made of every image: principal components at once, then t-SNE.'),
      made.status,
    );
  }

  /** Title, what the map is of, and the choices. */
  function head(ctx, layer, choice) {
    const layers = ctx.collection.alike?.embedded ?? [];
    const select =
      live.state.may && layers.length > 1
        ? dom.select(
            'Layer',
            layers.map((a) => [a, a]),
            layer,
            (v) => ctx.set({ layer: v, view: null, x: null, y: null, zoom: null }),
            'map-layer',
          )
        : null;
    return h(
      'div.page-head',
      {},
      h(
        'div',
        {},
        h('h1', {}, 'Map of the collection'),
        h('p.lead', {}, `By the values of ${layer}: images that the network sees alike lie near one another.`),
        layers.length > 1 && !select
          ? h('p.quiet', {}, `One layer of ${format.count(layers.length)} is kept; “convscope serve” makes the map of any of them.`)
          : null,
      ),
      h('div.controls', {}, select, choice),
    );
  }

  /** The page of one map. @param {?HTMLElement} status of the job that is still at work on it */
  function drawn(ctx, content, status) {
    const { query } = ctx.route;
    if (!content.views.length)
      return h(
        'div',
        {},
        h('h1', {}, 'Map of the collection'),
        dom.notice('There are too few images for a map: it takes three.'),
      );
    const usual = status ? content.views.at(-1) : content.views[0]; // what was waited for is shown when it is there
    const view = content.views.find((v) => v.name === query.view) ?? usual;
    const labels = content.index.map((i) => ctx.collection.labels[i]);
    const chosen = query.class === undefined ? null : Number(query.class);
    const card = h('div.hover-card', { hidden: true, dataset: { testid: 'hover' } });
    const canvas = h('canvas.cloud', {
      'tabindex': 0,
      'id': 'cloud',
      'role': 'application',
      'dataset': { testid: 'cloud', view: view.name },
      'aria-label': `${view.name} map of ${format.plural(view.points.length, 'image')}. Arrows pan, plus and minus zoom, space names the image in the middle, Enter opens it.`,
    });
    const cloud = makeCloud(
      canvas,
      { points: view.points, index: content.index, labels, thumbs: ctx.collection.thumbs, chosen },
      start(query),
      {
        hover: (i, at) => hover(ctx, card, i < 0 ? null : content.index[i], at, canvas),
        open: (index) => ctx.go(routes.build('image', [index])),
        moved: ({ x, y, zoom }) => ctx.note({ x: x.toPrecision(5), y: y.toPrecision(5), zoom: zoom.toPrecision(4) }),
      },
    );
    ctx.onLeave(cloud.stop);
    const button = (text, label, action) =>
      h('button.icon', { 'type': 'button', 'aria-label': label, 'title': label, 'onclick': action }, text);
    return h(
      'div',
      {},
      head(
        ctx,
        content.layer,
        dom.choice(
          'Method',
          content.views.map((v) => [v.name, v.name]),
          view.name,
          (name) => ctx.set({ view: name, x: null, y: null, zoom: null }),
          'method',
        ),
      ),
      status?.querySelector('progress') ? h('p.quiet', {}, 'Principal components for now; t-SNE is on its way.') : null,
      status,
      h(
        'div.map-page',
        {},
        h(
          'figure.cloud-frame',
          {},
          canvas,
          card,
          h(
            'div.zoom',
            {},
            button('+', 'Nearer', () => cloud.zoom(1.6)),
            button('−', 'Farther', () => cloud.zoom(1 / 1.6)),
            button('⤢', 'All', cloud.reset),
          ),
          h('figcaption', {}, axes(view), counted(ctx, view, content)),
        ),
        legend(ctx, labels, cloud.places, chosen),
      ),
      dom.notes(view.notes),
    );
  }

  const start = ({ x, y, zoom }) =>
    [x, y, zoom].every((v) => Number.isFinite(Number(v ?? NaN))) ? { x: Number(x), y: Number(y), zoom: Number(zoom) } : null;

  const axes = (view) =>
    view.axes?.some((axis) => axis && axis !== 'no unit')
      ? h('span', {}, `→ ${view.axes[0]}   ↑ ${view.axes[1]}`)
      : h('span', {}, 'The axes have no meaning of their own; only nearness has.');

  const counted = (ctx, view, content) =>
    h(
      'span.quiet',
      { dataset: { testid: 'counted' } },
      content.index.length < ctx.collection.count
        ? `${format.count(content.index.length)} of ${format.plural(ctx.collection.count, 'image')}`
        : `All ${format.plural(ctx.collection.count, 'image')}`,
    );

  function hover(ctx, card, index, at, canvas) {
    card.hidden = index === null;
    if (index === null) return;
    const guess = ctx.guess(index),
      label = ctx.label(index);
    card.replaceChildren(
      sprite.thumb(ctx.collection, index, 96),
      h(
        'div',
        {},
        h('b', {}, ctx.collection.ids[index]),
        label ? h('span', {}, label) : null,
        guess ? h('span.quiet', {}, `answer: ${guess.name}, ${format.percent(guess.probability)}`) : null,
      ),
    );
    const { width, height } = canvas.getBoundingClientRect();
    const left = at[0] > width / 2;
    const top = at[1] > height / 2;
    Object.assign(card.style, {
      left: left ? 'auto' : `${at[0] + 16}px`,
      right: left ? `${width - at[0] + 16}px` : 'auto',
      top: top ? 'auto' : `${at[1] + 12}px`,
      bottom: top ? `${canvas.parentElement.clientHeight - at[1] + 12}px` : 'auto',
    });
  }

  /** The classes with their marks; a click shows one of them alone. */
  function legend(ctx, labels, places, chosen) {
    const counts = new Map();
    for (const label of labels) counts.set(label, (counts.get(label) ?? 0) + 1);
    const known = [...counts].filter(([k]) => k >= 0);
    if (!known.length) return null;
    const order = known.sort((a, b) => places.has(b[0]) - places.has(a[0]) || a[0] - b[0]);
    const rest = order.length > LEGEND ? order.length - LEGEND : 0;
    return h(
      'aside.classes',
      { dataset: { testid: 'legend' } },
      h('h2', {}, 'Classes'),
      h(
        'ul',
        {},
        order.slice(0, LEGEND).map(([k, n]) =>
          h(
            'li',
            {},
            h(
              'button',
              {
                'type': 'button',
                'id': `class-${k}`,
                'aria-pressed': String(k === chosen),
                'dataset': { testid: `class-${k}` },
                'onclick': () => ctx.set({ class: k === chosen ? null : k }),
              },
              sign(places.get(k)),
              h('span.text', {}, ctx.collection.classes[k] ?? `class ${k}`),
              h('span.quiet', {}, format.count(n)),
            ),
          ),
        ),
      ),
      rest ? h('p.quiet', {}, `and ${format.plural(rest, 'more class', 'more classes')}, in grey`) : null,
      known.length > places.size && !rest ? h('p.quiet', {}, 'Ten classes have colours; the others are grey.') : null,
    );
  }

  function sign(place) {
    const fill = colour.ofClass(place, theme.isDark());
    const form = colour.formOf(place);
    const shape =
      form === 'disc'
        ? s('circle', { cx: 6, cy: 6, r: 4.5, fill })
        : form === 'square'
          ? s('rect', { x: 2, y: 2, width: 8, height: 8, fill })
          : s('path', { d: form === 'triangle' ? 'M6 1L11 10.5H1z' : 'M6 .5L11.5 6L6 11.5L.5 6z', fill });
    return s('svg.sign', { 'viewBox': '0 0 12 12', 'width': 12, 'height': 12, 'aria-hidden': 'true' }, shape);
  }

  Object.assign(window.convscope.pages, { map: render });
}

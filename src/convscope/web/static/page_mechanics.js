'use strict';
/** `#/mechanics/ADDRESS`: how does one number of a layer come about, forward and backward? Every product, step by step. */
{
  const {
    dom,
    dom: { h },
    data,
    format,
    live,
    route: routes,
    cells: lib,
    changes,
    stage,
  } = window.convscope;
  const KEEP = ['image', 'dir', 'class', 'plane', 'change']; // what the next layer is asked with as well
  const DIRECTIONS = [
    ['forward', 'Forward'],
    ['input', 'To the input'],
    ['weights', 'To the weights'],
  ];
  const answers = new Map(); // question -> promise; the latest few
  let view = null; // what the keys act on

  /** The address of a layer's mechanics, with what was chosen so far. */
  const link = (address, query = {}) =>
    routes.build('mechanics', [address], Object.fromEntries(KEEP.filter((k) => query[k]).map((k) => [k, query[k]])));

  async function render(ctx) {
    const layer = ctx.layer(ctx.route.args[0]);
    const image = imageOf(ctx);
    view = null;
    changes.forget();
    const { page, why } = await read(ctx, layer, image);
    return h(
      'div',
      {},
      head(ctx, layer, image, page),
      why ? dom.notice(why) : null,
      page ? [workbench(ctx, page), changes.section(ctx, page)] : null,
    );
  }

  function imageOf(ctx) {
    const { image } = ctx.route.query;
    if (image?.startsWith('upload-')) return image;
    const known = ctx.collection.mechanics?.images ?? ctx.collection.pages;
    const index = Number(image ?? known[0] ?? 0);
    if (!Number.isInteger(index) || index < 0 || index >= ctx.collection.count) {
      throw new Error(`There is no image “${image}”: they are numbered 0 to ${ctx.collection.count - 1}.`);
    }
    return index;
  }

  const whole = (text) => (/^\d{1,9}$/.test(text ?? '') ? Number(text) : null);

  function question(ctx, layer, image) {
    const { query } = ctx.route;
    return {
      image,
      layer: layer.address,
      channel: whole(query.k),
      inner: whole(query.c),
      plane: whole(query.plane) ?? 0,
      target: query.class ?? null,
      changes: lib.changes(query.change),
    };
  }

  /** The layer's maps: from the server, or from the atlas; if neither, why not. */
  async function read(ctx, layer, image) {
    if (live.state.may) return { page: lib.open(await asked(question(ctx, layer, image))), why: null };
    const kept = ctx.collection.mechanics ?? { images: [], layers: [] };
    if (!kept.images.includes(image) || !kept.layers.includes(layer.address)) {
      const has = kept.layers.length
        ? `The atlas keeps the mechanics of ${kept.layers.join(', ')} for ${format.plural(kept.images.length, 'image')} (${kept.images.join(', ')}). `
        : 'This atlas keeps no mechanics. ';
      return { page: null, why: `${has}Run “convscope serve” on the atlas folder: it works out any layer of any image.` };
    }
    const content = await data.load(`mechanics/${image}`);
    return { page: lib.open(content.layers[layer.address]), why: null };
  }

  function asked(body) {
    const key = JSON.stringify(body);
    if (!answers.has(key)) {
      const answer = live.post('api/mechanics', body);
      answers.set(key, answer);
      answer.catch(() => answers.delete(key));
      if (answers.size > 8) answers.delete(answers.keys().next().value);
    }
    return answers.get(key);
  }

  function head(ctx, layer, image, page) {
    const { layers } = ctx.network;
    const at = layers.indexOf(layer);
    const step = (to, text, key) =>
      to
        ? h('a.step', { href: link(to.address, ctx.route.query), title: `${to.address}  (key ${key})` }, text)
        : h('span.step.off', { 'aria-hidden': 'true' }, text);
    const name = typeof image === 'number' ? ctx.collection.ids[image] : 'the uploaded image';
    return h(
      'div',
      {},
      h(
        'div.page-head',
        {},
        h(
          'div',
          {},
          h(
            'p.crumbs',
            {},
            h('a', { href: '#/' }, ctx.network.name),
            ' / ',
            h('a', { href: routes.build('layer', [layer.address]) }, layer.address),
            ' / mechanics',
          ),
          h('h1.address', {}, layer.address),
          h('p.lead', {}, `${format.operator(layer.operator)} on `, h('a', { href: routes.build('image', [image]) }, name), page ? `: ${page.formula}` : ''),
        ),
        h('div.controls', {}, step(layers[at - 1], '‹', '['), step(layers[at + 1], '›', ']')),
      ),
      page ? pickers(ctx, image, page) : null,
    );
  }

  /** Image, class of the loss, and the channels that are shown. */
  function pickers(ctx, image, page) {
    const { may } = live.state;
    const fresh = { at: null };
    const images = may ? ctx.collection.pages : (ctx.collection.mechanics?.images ?? []);
    const options = [...new Set([image, ...images])].map((i) => [String(i), typeof i === 'number' ? ctx.collection.ids[i] : 'uploaded image']);
    const number = (label, id, value, count, key) =>
      count > 1
        ? h(
            'label.field',
            {},
            h('span', {}, label),
            h('input', { id, type: 'number', min: 0, max: count - 1, value, disabled: !may, dataset: { testid: id }, onchange: (event) => ctx.set({ [key]: event.target.value, ...fresh }) }),
            h('small', {}, `of ${format.count(count)}`),
          )
        : null;
    const dense = page.kind === 'dense';
    const names = ctx.network.classes;
    return h(
      'div.toolbar.pickers',
      {},
      dom.select('Image', options, String(image), (v) => ctx.set({ image: v, ...fresh }), 'mechanics-image'),
      may && names.length > 1 && names.length <= 1000
        ? dom.select('L: cross-entropy with', names.map((n, k) => [String(k), n]), String(page.label), (v) => ctx.set({ class: v }), 'mechanics-class')
        : h('span.quiet', {}, page.loss_text),
      dense || page.inners == null ? null : number('Input channel', 'mechanics-inner', page.inner, page.inners, 'c'),
      page.channels == null ? null : number(dense ? 'Output' : page.kind === 'conv' ? 'Filter' : 'Channel', 'mechanics-channel', page.channel, page.channels, 'k'),
    );
  }

  /** The direction, the way along the numbers, the numbers themselves. */
  function workbench(ctx, page) {
    const open = DIRECTIONS.filter(([name]) => lib.target(page, name));
    if (!open.length) return dom.notice('What this layer gives is no vector and no map: `convscope steps` shows its numbers.');
    const wanted = ctx.route.query.dir ?? 'forward';
    const direction = open.some(([name]) => name === wanted) ? wanted : open[0][0];
    const map = lib.target(page, direction);
    const given = (ctx.route.query.at ?? '').split(',').map(Number);
    const start = given.length === map.shape.length && given.every(Number.isInteger) && lib.inside(map, given) ? given : lib.largest(map);
    const body = { ...question(ctx, { address: page.layer }, imageOf(ctx)), channel: page.channel ?? null, inner: page.inner ?? null };
    const shown = stage.create(ctx, page, direction, (direction_, at) => asked({ ...body, direction: direction_, at: [...page.prefix[direction_], ...at] }));
    const player = stage.player(ctx, map, start, (at, playing) => shown.show(at, playing));
    view = player;
    ctx.onLeave(() => {
      player.stop();
      shown.leave();
    });
    shown.onPick(player.go);
    player.go(start);
    const what = { forward: 'one output', input: 'the delta of one input', weights: 'the gradient of one weight' }[direction];
    return h(
      'section',
      {},
      h(
        'div.section-head',
        {},
        h('h2', {}, `How does ${what} come about?`),
        h('div.controls', {}, dom.choice('Direction', open, direction, (v) => ctx.set({ dir: v === 'forward' ? null : v, at: null }), 'direction')),
      ),
      h('div.player', {}, player.controls),
      shown.element,
    );
  }

  const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  function keys(ctx, key) {
    if (key === '[' || key === ']') {
      const { layers } = ctx.network;
      const to = layers[layers.indexOf(ctx.layer(ctx.route.args[0])) + (key === ']' ? 1 : -1)];
      if (to) ctx.go(link(to.address, ctx.route.query));
      return true;
    }
    if (!view) return false;
    if (ARROWS[key]) {
      view.move(...ARROWS[key]);
      return true;
    }
    if (key !== ' ' || document.activeElement?.closest('button, a, summary')) return false;
    view.toggle();
    return true;
  }

  Object.assign(window.convscope.pages, { mechanics: Object.assign(render, { keys }) });
  Object.assign(window.convscope, { mechanicsLink: link });
}

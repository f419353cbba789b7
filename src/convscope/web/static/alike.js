'use strict';
/** The images that a layer holds for most like this one: kept with the atlas, or asked of the server. */
{
  const {
    dom,
    dom: { h },
    data,
    format,
    live,
    sprite,
    route: routes,
  } = window.convscope;
  const answers = new Map(); // 'image layer' -> promise of {image, distance, notes}

  /** @param ctx the page @param {?number} index of the image in the collection; null: an upload */
  async function section(ctx, index) {
    const about = ctx.collection.alike;
    if (!about || index === null) return null;
    const kept = ctx.collection.pages.includes(index) ? about.layers : [];
    const layers = live.state.may ? about.embedded : kept;
    if (!layers.length)
      return part(
        null,
        dom.notice(
          `The atlas keeps these of ${format.plural(ctx.collection.pages.length, 'image')}, and this is not one of them. ` +
            'Run “convscope serve” on the atlas folder: it compares any image.',
        ),
      );
    const usual = layers.includes(about.usual) ? about.usual : layers.at(-1);
    const layer = layers.includes(ctx.route.query.alike) ? ctx.route.query.alike : usual;
    const select = dom.select(
      'Layer',
      layers.map((a) => [a, a]),
      layer,
      (v) => ctx.set({ alike: v === usual ? null : v }),
      'alike-layer',
    );
    try {
      const found = kept.includes(layer) ? (await data.load(`alike/${index}`)).layers[layer] : await ask(index, layer);
      const more = about.embedded.length > layers.length;
      return part(
        select,
        found.image.length ? gallery(ctx, found) : null,
        dom.notes([
          ...found.notes,
          ...(found.image.length ? ['distance: 1 − cosine of the mean responses; 0: the same direction, 1: nothing in common'] : []),
          ...(more
            ? [`kept for ${layers.length} of ${about.embedded.length} layers; “convscope serve” compares in all of them`]
            : []),
        ]),
      );
    } catch (error) {
      return part(select, h('p.error', {}, error.message));
    }
  }

  const part = (controls, ...children) =>
    h('div', { dataset: { testid: 'alike' } }, dom.section('Images most alike in this layer', controls, ...children));

  function ask(image, layer) {
    const key = `${image} ${layer}`;
    if (!answers.has(key)) {
      const answer = live.post('api/alike', { image, layer });
      answers.set(key, answer);
      answer.catch(() => answers.delete(key)); // it may work next time
    }
    return answers.get(key);
  }

  const gallery = (ctx, found) =>
    h(
      'div.gallery',
      {},
      found.image.map((other, at) => {
        const label = ctx.label(other) ?? ctx.guess(other)?.name ?? ctx.collection.ids[other];
        return h(
          'a.image-card',
          {
            href: routes.build('image', [other], { alike: ctx.route.query.alike }),
            title: ctx.collection.ids[other],
            dataset: { index: other },
          },
          sprite.thumb(ctx.collection, other, 96),
          h('span.caption', {}, h('span.text', {}, label), h('span.quiet', {}, format.number(found.distance[at]))),
        );
      }),
    );

  Object.assign(window.convscope, { alike: section });
}

'use strict';
/** `#/depth`: how does what the network knows change from layer to layer? Probes, sparsity, invariance, similarity. */
{
  const {
    dom,
    dom: { h },
    format,
    chart,
    data,
    sprite,
    route: routes,
  } = window.convscope;

  const EMPTY = { layers: [], curves: [], cka: { layers: [] }, invariance: {}, notes: {} };

  async function render(ctx) {
    // An atlas of an earlier version, or of --no-studies, has no such file or nothing in it.
    const content = ctx.network.long_work ? await data.load('depth') : EMPTY;
    const some = content.rebuilt || content.curves.length || content.cka.layers.length || Object.keys(content.invariance).length;
    return h(
      'div',
      {},
      h('div.page-head', {}, h('div', {}, h('h1', {}, 'Through the depth'), h('p.lead', {}, 'What each layer makes of the same images.'))),
      some ? null : dom.notice('Nothing was made yet: the same command as on the About page, with --studies and without --minutes, makes it.'),
      waiting(ctx),
      content.curves.map((curve) => section(content, curve)),
      invariance(ctx, content),
      similarity(content),
      rebuilt(ctx, content.rebuilt),
    );
  }

  /** One image, rebuilt from each layer in turn, and how near it came. */
  function rebuilt(ctx, found) {
    if (!found) return null;
    const tile = (at, index, title, under) =>
      h('li', {}, sprite.tile(found.sheets[at], index, 112, title), h('span.caption', {}, h('b', {}, title), h('span.quiet', {}, under)));
    return dom.section(
      'What is left of an image',
      null,
      h(
        'p.quiet',
        {},
        h('a', { href: routes.build('image', [found.image]) }, ctx.collection.ids[found.image]),
        ', rebuilt by gradient descent from the values of one layer after the other. Deep layers do not determine an image: ',
        'each picture is one of many with nearly the same values.',
      ),
      h(
        'ol.rebuilt',
        { dataset: { testid: 'rebuilt' } },
        tile(0, 0, 'the image', ''),
        found.layers.map((layer, at) =>
          tile(at, 1, layer, `${format.known(found.psnr[at]) ? `${format.number(found.psnr[at])} dB` : 'exact'}, SSIM ${format.number(found.ssim[at])}`),
        ),
      ),
      h('details.how', {}, h('summary', {}, 'how these were made'), dom.notes(found.notes), h('p.settings', {}, found.settings)),
    );
  }

  function section(content, curve) {
    return dom.section(
      curve.name.charAt(0).toUpperCase() + curve.name.slice(1),
      null,
      h('p.quiet', {}, `${curve.meaning.charAt(0).toUpperCase()}${curve.meaning.slice(1)}.`),
      chart.lines(content.layers, [curve, ...(curve.beside ? [curve.beside] : [])], { low: 0, high: curve.unit === 'share' ? 1 : undefined, label: curve.name, id: `curve-${curve.method}` }),
      how(content.notes[curve.method]),
    );
  }

  const how = (notes) => (notes?.length ? h('details.how', {}, h('summary', {}, 'how this was measured'), dom.notes(notes)) : null);

  const KINDS = { shift: ['px', 'Shifted'], rotate: ['°', 'Turned'], scale: ['×', 'Scaled'] };

  /** Which studies the last run left to the next. */
  function waiting(ctx) {
    const left = Object.entries(ctx.network.long_work?.missing ?? {}).filter(([kind]) => STUDIES.includes(kind));
    return left.length
      ? dom.notice(`Not all was made yet: ${left.map(([kind, count]) => `${kind} of ${format.plural(count, 'layer')}`).join(', ')} missing. The same command again goes on.`)
      : null;
  }

  const STUDIES = ['probe', 'sparsity', 'invariance', 'cka', 'inversion'];

  /** One chart a transformation: similarity of the channels' means to the clean image's, a line an amount. */
  function invariance(ctx, content) {
    const layers = content.layers.filter((layer) => content.invariance[layer]);
    if (!layers.length) return null;
    const charts = Object.entries(KINDS).map(([kind, [unit, title]]) => [h('h3', {}, title), curves(content, layers, kind, unit, title)]);
    return dom.section(
      'Invariance',
      null,
      h('p.quiet', {}, 'Similarity (cosine) of the channels’ mean responses to a moved image and to the image itself; 1 is no change, and “another image” is what two unlike images come to. The axis begins at the tenth below the lowest value.'),
      charts,
      how(content.invariance[layers[0]].notes),
    );
  }

  function curves(content, layers, kind, unit, title) {
    const amounts = new Map(); // amount -> a value for each layer, null where the layer was not asked with it
    layers.forEach((layer, l) => {
      const { transformation, amount, channels } = content.invariance[layer];
      transformation.forEach((name, row) => {
        if (name !== kind) return;
        if (!amounts.has(amount[row])) amounts.set(amount[row], Array(layers.length).fill(null));
        amounts.get(amount[row])[l] = channels[row];
      });
    });
    const series = [...amounts]
      .sort(([a], [b]) => a - b)
      .map(([amount, values]) => ({ name: `${format.number(amount)} ${unit}`, values }))
      .filter((one) => one.values.filter((v) => format.known(v)).length > layers.length / 2);
    if (!series.length) return dom.notice('No chart: no amount was asked of more than half of the layers, or all responses were zero. The layers’ own pages have the numbers.');
    const strangers = layers.map((layer) => content.invariance[layer].channels[content.invariance[layer].transformation.indexOf('another image')] ?? null);
    return [
      chart.lines(layers, [...thinned(series, 7), { name: 'another image', values: strangers, quiet: true }], {
        low: floor([...series, { values: strangers }]),
        high: 1,
        label: `${title}: similarity`,
        id: `invariance-${kind}`,
      }),
      series.length > 7 ? h('p.quiet', {}, `7 of ${format.count(series.length)} amounts are drawn; the layers’ own pages have all.`) : null,
    ];
  }

  /** Where the axis begins: the tenth below the lowest value, for most similarities lie near 1. */
  const floor = (series) => Math.min(0.9, Math.floor(10 * Math.min(...series.flatMap((one) => one.values.filter(format.known)))) / 10);

  /** At most `most`, evenly chosen, the first and the last among them. */
  const thinned = (list, most) =>
    list.length <= most ? list : Array.from({ length: most }, (_, i) => list[Math.round((i * (list.length - 1)) / (most - 1))]);

  function similarity(content) {
    const { layers, values, notes } = content.cka;
    if (layers.length < 2) return null;
    return dom.section(
      'Which layers say the same',
      null,
      h('p.quiet', {}, 'Linear CKA of mean responses (Kornblith et al. 2019): 1 where two layers differ by a rotation and a scale only. Point at a cell.'),
      chart.matrix(layers, values, 'Similarity of layers'),
      how(notes),
    );
  }

  Object.assign(window.convscope.pages, { depth: render });
}

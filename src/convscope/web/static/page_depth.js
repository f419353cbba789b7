'use strict';
/** `#/depth`: how does what the network knows change from layer to layer? Probes, sparsity, invariance, similarity. */
{
  const {
    dom,
    dom: { h },
    format,
    chart,
    data,
  } = window.convscope;

  async function render(ctx) {
    const content = await data.load('depth');
    const some = content.curves.length || content.cka.layers.length || Object.keys(content.invariance).length;
    return h(
      'div',
      {},
      h('div.page-head', {}, h('div', {}, h('h1', {}, 'Through the depth'), h('p.lead', {}, 'What each layer makes of the same images.'))),
      some ? null : dom.notice('Nothing was made yet: run the same command again with --studies and more --minutes.'),
      content.curves.map((curve) => section(content, curve)),
      invariance(ctx, content),
      similarity(content),
    );
  }

  function section(content, curve) {
    return dom.section(
      curve.name.charAt(0).toUpperCase() + curve.name.slice(1),
      null,
      h('p.quiet', {}, `${curve.meaning.charAt(0).toUpperCase()}${curve.meaning.slice(1)}.`),
      chart.lines(content.layers, [curve], { low: 0, high: curve.unit === 'share' ? 1 : undefined, label: curve.name, id: `curve-${curve.method}` }),
      how(content.notes[curve.method]),
    );
  }

  const how = (notes) => (notes?.length ? h('details.how', {}, h('summary', {}, 'how this was measured'), dom.notes(notes)) : null);

  const KINDS = { shift: ['px', 'Shifted'], rotation: ['°', 'Turned'], scale: ['×', 'Scaled'] };

  /** One chart a transformation: similarity of the channels' means to the clean image's, a line an amount. */
  function invariance(ctx, content) {
    const layers = content.layers.filter((layer) => content.invariance[layer]);
    if (!layers.length) return null;
    const charts = Object.entries(KINDS).map(([kind, [unit, title]]) => {
      const rows = content.invariance[layers[0]].transformation;
      const amounts = rows.flatMap((name, at) => (name === kind ? [content.invariance[layers[0]].amount[at]] : []));
      const series = amounts.map((amount) => ({
        name: `${format.number(amount)} ${unit}`,
        values: layers.map((layer) => {
          const { transformation, amount: all, channels } = content.invariance[layer];
          const at = transformation.findIndex((name, i) => name === kind && all[i] === amount);
          return at < 0 ? null : channels[at];
        }),
      }));
      const kept = series.filter((one) => one.values.filter((v) => format.known(v)).length > layers.length / 2);
      return kept.length ? [h('h3', {}, title), chart.lines(layers, kept.slice(0, 8), { low: 0, high: 1, label: `${title}: similarity`, id: `invariance-${kind}` })] : null;
    });
    return dom.section(
      'Invariance',
      null,
      h('p.quiet', {}, 'Similarity (cosine) of the channels’ mean responses to a moved image and to the image itself; 1 is no change.'),
      charts,
      how(content.invariance[layers[0]].notes),
    );
  }

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

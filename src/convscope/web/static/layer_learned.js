'use strict';
/** What a layer has learned, on its page: every unit's picture and name, and the studies of the layer. */
{
  const {
    dom,
    dom: { h },
    format,
    sprite,
    data,
    result,
    route: routes,
  } = window.convscope;
  const FIRST = 48; // pictures shown before the button

  async function pictures(ctx, layer) {
    const content = await window.convscope.loadLearned(ctx, layer);
    if (!content) return null;
    const about = content.about.pictures;
    const units = Object.keys(content.units).filter((unit) => content.units[unit].pictures);
    if (!units.length) return dom.section('What the units look for', null, dom.notice(window.convscope.lacking(content, 'pictures', ctx.network.long_work.features)));
    units.sort((a, b) => Number(a) - Number(b));
    const list = h('div.tiles', { dataset: { testid: 'learned-tiles' } });
    const fill = (count) => list.replaceChildren(...units.slice(0, count).map((unit) => tile(layer, content, unit)));
    fill(FIRST);
    const more = h(
      'button.small',
      {
        type: 'button',
        onclick: () => {
          fill(units.length);
          more.remove();
        },
      },
      `all ${format.count(units.length)}`,
    );
    const weak = units.filter((unit) => content.units[unit].pictures.converged?.[0] === false).length;
    return dom.section(
      'What the units look for',
      null,
      h(
        'p.quiet',
        {},
        `Pictures made to excite ${format.plural(units.length, 'unit')} of ${format.count(content.count)}`,
        units.length < content.count ? ` (${content.order})` : '',
        `, ${about.size.join('×')} px`,
        content.layer === layer.address ? '. ' : `, asked of ${content.layer}, before the activation function. `,
        weak ? `${format.count(weak)} are weaker than a real image: not converged. ` : '',
        content.dead ? `${format.plural(content.dead, 'unit')} of ${content.layer} never rose above zero on any image.` : '',
      ),
      list,
      units.length > FIRST ? more : null,
      h('details.how', {}, h('summary', {}, 'how these were made'), dom.notes(about.notes), h('p.settings', {}, about.settings)),
    );
  }

  function tile(layer, content, unit) {
    const { pictures: made, names } = content.units[unit];
    const named = names && names.name !== '—' ? names.name : '';
    return h(
      'a.unit-tile.learned',
      {
        href: routes.build('unit', [layer.address, Number(unit)]),
        title: names?.text ?? null,
        dataset: { unit },
      },
      sprite.tile(content.about.pictures.sheets[made.part], made.tile, 92, `picture that excites unit ${unit}`),
      h('span', {}, h('b', {}, unit), h('span.quiet', {}, named)),
    );
  }

  async function studies(ctx, layer) {
    if (!ctx.network.long_work?.studied.includes(layer.address)) return null;
    const { results, refused } = await data.load(`study/${layer.slug}`);
    return dom.section(
      'Studies of this layer',
      null,
      results.map((content) =>
        h('details.study', { dataset: { testid: `study-${content.method}` } }, h('summary', {}, content.title), result(content)),
      ),
      Object.keys(refused).length
        ? h(
            'details.study.quiet',
            {},
            h('summary', {}, `does not apply: ${Object.keys(refused).join(', ')}`),
            dom.notes(Object.entries(refused).map(([method, why]) => `${method}: ${why}`)),
          )
        : null,
    );
  }

  Object.assign(window.convscope, { layerPictures: pictures, layerStudies: studies });
}

'use strict';
/** The part of a layer's page that shows its maps for one image. */
{
  const {
    dom,
    dom: { h },
    sprite,
    data,
    route: routes,
  } = window.convscope;

  /** What the layer makes of one image: its maps, for any image that has a page. */
  async function activations(ctx, layer) {
    const { pages } = ctx.collection;
    if (!pages.length) return null;
    const asked = Number(ctx.route.query.image ?? pages[0]);
    const index = pages.includes(asked) ? asked : pages[0];
    const content = await data.load(`image/${index}`);
    const sheet = content.maps.find((m) => m.layer === layer.address);
    if (!sheet) return null;
    const choice = h(
      'select',
      {
        'aria-label': 'image',
        dataset: { testid: 'activations-image' },
        onchange: (event) => ctx.go(routes.change(ctx.route, { image: event.target.value })),
      },
      pages.map((i) => h('option', { value: String(i), selected: i === index }, ctx.collection.ids[i])),
    );
    const link = (unit) => ({ href: routes.build('unit', [layer.address, unit]), title: `${layer.address}/${unit}` });
    return dom.section(
      'On an image',
      choice,
      h(
        'p.quiet',
        {},
        'What the layer makes of ',
        h('a', { href: routes.build('image', [index]) }, ctx.collection.ids[index]),
        `: ${sheet.caption}.`,
      ),
      h(
        'div.sheet',
        { dataset: { testid: 'activations', count: sheet.units.length } },
        sheet.units.map((unit, i) =>
          h('a', link(unit), sprite.tile(sheet, i, 60, `map of unit ${unit}`), h('small', {}, String(unit))),
        ),
      ),
    );
  }

  window.convscope.activations = activations;
}

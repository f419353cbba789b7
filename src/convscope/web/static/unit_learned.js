'use strict';
/** What a unit has learned, on its page: its name, the picture that excites it, projections, what feeds it, what it does. */
{
  const {
    dom,
    dom: { h },
    format,
    sprite,
    chart,
    colour,
    data,
    theme,
    route: routes,
  } = window.convscope;
  const SIGNS = ['excites it most', 'inhibits it most'];

  /** Data of the layer's units, or null where none was made. */
  async function load(ctx, layer) {
    const principal = ctx.network.long_work?.principal[layer.address];
    if (!principal) return null;
    return data.load(`units/${routes.slug(principal)}`);
  }

  async function learned(ctx, layer, unit) {
    const content = await load(ctx, layer);
    if (!content) return nothing(ctx, layer);
    const known = content.units[unit] ?? {};
    const asked = ctx.network.long_work.features;
    const other = content.layer === layer.address ? null : content.layer;
    return h(
      'div',
      { dataset: { testid: 'learned' } },
      name(content, known, asked),
      pictures(content, known, other, asked),
      projections(ctx, content, known),
      h('div.columns', {}, connections(ctx, content, known, unit), effects(content, known, asked)),
    );
  }

  /** Why nothing is there of a whole layer; nothing in an atlas of an earlier version. */
  function nothing(ctx, layer) {
    const { long_work: long } = ctx.network;
    if (!long) return null;
    const why =
      long.features === 'none'
        ? 'This atlas was made with --features none; the same command with --features top makes them.'
        : `${layer.address} passes on what other layers computed: its units have no filters of their own. Look at the layer before it.`;
    return dom.section('What it looks for', null, dom.notice(`No picture, name or projection. ${why}`));
  }

  /** Why a kind of answer is not there, in words. */
  function lacking(content, kind, asked) {
    const about = content.about[kind];
    if (about?.refused) return about.refused;
    if (!about?.known) return `Not made yet. ${GO_ON}`;
    const most = `Made for ${format.count(about.known)} of ${format.count(content.count)} units, the ${content.order}, not for this one.`;
    return `${most} ${asked === 'all' ? GO_ON : 'The same command with --features all makes the others.'}`;
  }

  const GO_ON = 'The same command again goes on where the last run stopped (About says which).';

  /** What is said of all units of the layer, then of this one. */
  const fine = (about, own) => [dom.notes([...about.notes, ...(own ?? [])]), about.settings ? h('p.settings', {}, about.settings) : null];

  const details = (about, own) => h('details.how', {}, h('summary', {}, 'how this was made'), fine(about, own));

  function name(content, known, asked) {
    const { names } = known;
    if (!names) return h('p.quiet', { dataset: { testid: 'unit-name' } }, 'No name. ', lacking(content, 'names', asked));
    return h(
      'p.sentence',
      { dataset: { testid: 'unit-name' } },
      h('b', {}, names.text.charAt(0).toUpperCase() + names.text.slice(1)),
      h('span.quiet', {}, ` · IoU ${format.number(names.iou)} · runner-up: ${names.second} · generated concepts, held out`),
      details(content.about.names),
    );
  }

  function pictures(content, known, other, asked) {
    const { pictures: made } = known;
    const about = content.about.pictures;
    const controls = other ? h('span.quiet', {}, `asked of ${other}, before the activation function`) : null;
    if (!made) return dom.section('What it looks for', controls, dom.notice(lacking(content, 'pictures', asked)));
    const figure = (at) =>
      h(
        'figure.made',
        {},
        sprite.tile(about.sheets[made.part], made.tile + at, 224, `picture that ${SIGNS[at]}`),
        h(
          'figcaption',
          {},
          h('b', {}, SIGNS[at]),
          h('span', {}, `response ${format.number(made.response?.[at])}`),
          made.strongest
            ? h('span.quiet', {}, `${at ? 'weakest' : 'strongest'} real image ${format.number(made.strongest[at])}`)
            : null,
          made.converged && !made.converged[at] ? h('span.error', {}, 'not converged: a real image is stronger') : null,
        ),
      );
    return dom.section(
      'What it looks for',
      controls,
      h('p.quiet', {}, `Made by gradient ascent from noise, ${about.size.join('×')} px: nothing of it was in an image.`),
      h('div.made-row', { dataset: { testid: 'made' } }, figure(0), figure(1)),
      details(about),
    );
  }

  function projections(ctx, content, known) {
    const { projections: made } = known;
    if (!made) return dom.section('Strongest images, projected back', null, dom.notice(lacking(content, 'projections', ctx.network.long_work.features)));
    const pairs = made.image.map((index, at) =>
      h(
        'li',
        {},
        h(
          'a',
          { href: routes.build('image', [index]), title: ctx.collection.ids[index] },
          sprite.tile(made.sheet, 2 * at, 112, 'what the unit saw'),
          sprite.tile(made.sheet, 2 * at + 1, 112, 'its response projected back'),
        ),
        h('span.caption', {}, h('b', {}, format.number(made.value[at])), h('span.quiet', {}, ctx.label(index) ?? '')),
      ),
    );
    return dom.section(
      'Strongest images, projected back',
      null,
      h(
        'p.quiet',
        {},
        'Left: what the unit saw, cut to its receptive field. Right: its response led back to the pixels (Zeiler and Fergus 2014); ',
        `mid-grey is zero, black and white are ∓${format.number(made.limit)} or beyond.`,
      ),
      h('ol.pairs', { dataset: { testid: 'projections' } }, pairs),
      details(content.about.projections, made.notes),
    );
  }

  /** Units that feed this one, the strongest first, with the weights between them. */
  function connections(ctx, content, known, unit) {
    const { connections: made } = known;
    if (!made) return dom.section('What feeds it', null, dom.notice(lacking(content, 'connections', ctx.network.long_work.features)));
    const scale = Math.max(...made.sum.map(Math.abs), 0) || 1;
    const rows = made.from.map((address, at) => {
      const from = routes.unitOf(address);
      const known = ctx.network.layers.some((l) => l.address === from.address && l.page);
      return h(
        'li',
        {},
        made.slices ? slice(made.slices[at]) : null,
        known && from.unit !== null
          ? h('a.name', { href: routes.build('unit', [from.address, from.unit]) }, address)
          : h('span.name', {}, address),
        h(
          'span.track',
          { 'aria-hidden': 'true' },
          h(`span.bar${made.sum[at] < 0 ? '.negative' : ''}`, { style: { width: `${(100 * Math.abs(made.sum[at])) / scale}%` } }),
        ),
        h('span.value', {}, format.number(made.sum[at])),
      );
    });
    return dom.section(
      'What feeds it',
      null,
      h('p.quiet', {}, 'Sum of the weights from each unit of the layer before; drawn: the weights themselves, blue against red.'),
      h('ol.bars.feeding', { dataset: { testid: 'feeding', unit } }, rows),
      details(content.about.connections, made.notes),
    );
  }

  /** A kernel slice as coloured cells on a scale of its own. */
  function slice(values) {
    const largest = Math.max(...values.flat().map(Math.abs)) || 1;
    const side = Math.max(3, Math.floor(30 / Math.max(values.length, values[0].length)));
    return h(
      'span.slice',
      { 'aria-hidden': 'true', 'style': { 'grid-template-columns': `repeat(${values[0].length}, ${side}px)`, 'grid-auto-rows': `${side}px` } },
      values.flat().map((v) => h('i', { style: { background: colour.css(colour.diverging(v / largest, theme.isDark())) } })),
    );
  }

  function effects(content, known, asked) {
    const { effects: made } = known;
    if (!made) return dom.section('What the network does without it', null, dom.notice(lacking(content, 'effects', asked)));
    const scale = Math.max(...[...made.falls, ...made.rises].map(([, v]) => Math.abs(v)), 0);
    const list = [...made.falls, ...made.rises].map(([name, value]) => ({ name, value }));
    return dom.section(
      'What the network does without it',
      null,
      h(
        'p.quiet',
        {},
        `Change of the class scores when the unit is set to zero everywhere; mean |change| ${format.number(made.mean)}`,
        made.accuracy === null ? '.' : `, accuracy ${made.accuracy > 0 ? '+' : ''}${format.number(100 * made.accuracy)} points.`,
      ),
      list.length ? chart.bars(list, scale, 'effects') : dom.notice('No class changes at all.'),
      details(content.about.effects, made.notes),
    );
  }

  Object.assign(window.convscope, { learned, loadLearned: load, lacking });
}

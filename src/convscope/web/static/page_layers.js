'use strict';
/** `#/`: what does the network look like? Boxes folded by module, sizes on them, and one quantity as colour. */
{
  const {
    dom,
    dom: { h },
    format,
    colour,
    tree,
    layout,
    theme,
  } = window.convscope;

  /** The quantities that can colour the boxes. `how` says what a folded box shows of its layers. */
  const OVERLAYS = {
    parameters: {
      text: 'parameters',
      how: 'sum',
      log: true,
      read: (l) => l.parameters,
      write: format.short,
      of: 'sum over the box',
    },
    macs: {
      text: 'MACs',
      how: 'sum',
      log: true,
      read: (l) => l.macs,
      write: format.short,
      of: 'multiply-accumulates for one image, sum over the box',
    },
    saved: {
      text: 'bytes kept for backward',
      how: 'sum',
      log: true,
      read: (l) => l.saved,
      write: format.bytes,
      of: 'for one image, sum over the box',
    },
    field: {
      text: 'receptive field',
      how: 'max',
      log: false,
      unit: true,
      read: (l) => l.field?.coverage ?? null,
      write: format.percent,
      of: 'share of the image that one position sees, largest in the box',
    },
    zeros: {
      text: 'zeros',
      how: 'mean',
      log: false,
      unit: true,
      read: (l) => l.zeros ?? null,
      write: format.percent,
      of: 'share of values that are zero over the collection, mean over the box',
    },
  };

  async function render(ctx) {
    const { network, route } = ctx;
    const view = route.query.view === 'table' ? 'table' : 'map';
    const head = h(
      'div.page-head',
      {},
      h(
        'div',
        {},
        h('h1', {}, network.name),
        h(
          'p.lead',
          {},
          `${format.shape(network.input_shape)} in, ${format.short(network.parameters)} parameters, ` +
            `${format.short(network.macs)} MACs for one image, ${format.plural(network.layers.length, 'layer')}`,
        ),
      ),
      h(
        'div.controls',
        {},
        dom.choice(
          'View',
          [
            ['map', 'Map'],
            ['table', 'Table'],
          ],
          view,
          (v) => ctx.set({ view: v === 'map' ? null : v, sort: null, down: null }),
          'view',
        ),
      ),
    );
    const body = view === 'table' ? window.convscope.layersTable(ctx) : map(ctx);
    return h('div', {}, head, view === 'map' ? highlights(network) : null, body);
  }

  function highlights(network) {
    if (!network.highlights?.length) return null;
    return h(
      'section.highlights',
      { 'aria-label': 'Things to look at', 'dataset': { testid: 'highlights' } },
      h('h2', {}, format.plural(network.highlights.length, 'thing'), ' to look at'),
      h(
        'ol',
        {},
        network.highlights.map((x) => h('li', {}, h('a', { href: x.link }, x.text))),
      ),
    );
  }

  function map(ctx) {
    const { network, route } = ctx;
    const root = tree.build(network.layers);
    const open = new Set(
      route.query.open === undefined ? tree.unfold(root) : route.query.open.split(',').filter((k) => k && k !== 'none'),
    );
    const setOpen = (keys) => ctx.set({ open: keys.length ? keys.join(',') : 'none' });
    const visible = tree.fold(root, open);
    const edges = tree.edges(visible);
    visible.children.unshift({ key: 'input', name: 'input', layers: [], children: null, input: true });
    const placed = layout.layout(visible, edges, (node) => [node.input ? 150 : 226, node.input ? 32 : 44]);
    const known = Object.entries(OVERLAYS).filter(([, o]) => network.layers.some((l) => format.known(o.read(l))));
    const overlay = known.find(([key]) => key === route.query.colour)?.[1] ?? null;
    const scale = scaleOf(overlay, placed.boxes);
    const panel = h('aside.panel', { 'aria-live': 'polite', 'dataset': { testid: 'panel' } });
    const show = (node) => {
      panel.classList.toggle('idle', !node);
      panel.replaceChildren(...detail(ctx, node).filter(Boolean));
    };
    show(null);
    const drawing = window.convscope.drawNetwork(ctx, placed, overlay, scale, { open, setOpen, show });
    const all = tree.groups(root);
    const controls = [
      dom.select(
        'Colour by',
        [['', 'nothing'], ...known.map(([key, o]) => [key, o.text])],
        overlay ? route.query.colour : '',
        (v) => ctx.set({ colour: v }),
        'overlay',
      ),
      all.length
        ? h(
            'button',
            {
              type: 'button',
              id: 'unfold',
              dataset: { testid: 'unfold' },
              disabled: open.size === all.length,
              onclick: () => setOpen(all),
            },
            'Unfold all',
          )
        : null,
      all.length
        ? h(
            'button',
            {
              type: 'button',
              id: 'fold',
              dataset: { testid: 'fold' },
              disabled: open.size === 0,
              onclick: () => setOpen([]),
            },
            'Fold all',
          )
        : null,
    ];
    return h(
      'section.map-layout',
      {},
      h(
        'div.map-main',
        {},
        h('div.toolbar', {}, controls, overlay ? legend(overlay, scale) : null),
        scrolled(h('div.map-scroll', {}, drawing), placed),
      ),
      panel,
    );
  }

  /** A wide network begins with its input in sight. */
  function scrolled(frame, placed) {
    const input = placed.boxes.find((b) => b.key === 'input');
    requestAnimationFrame(() => {
      frame.scrollLeft = input.x + input.width / 2 - frame.clientWidth / 2;
    });
    return frame;
  }

  function scaleOf(overlay, boxes) {
    if (!overlay) return null;
    const values = boxes
      .filter((b) => !b.node.children && !b.node.input)
      .map((b) => tree.total(b.node.layers, overlay.read, overlay.how))
      .filter((v) => v !== null && (!overlay.log || v > 0));
    if (overlay.unit) return { low: 0, high: 1 };
    return { low: Math.min(...values), high: Math.max(...values) };
  }

  function legend(overlay, { low, high }) {
    const steps = Array.from({ length: 24 }, (_, i) =>
      h('i', { style: { background: colour.css(colour.ramp(i / 23, theme.isDark())) } }),
    );
    return h(
      'div.legend',
      { title: overlay.of, dataset: { testid: 'legend' } },
      h('span', {}, overlay.write(low)),
      h('span.ramp', { 'aria-hidden': 'true' }, steps),
      h('span', {}, overlay.write(high)),
      h('span.quiet', {}, `${overlay.of}${overlay.log ? '; logarithmic' : ''}`),
    );
  }

  /** What the panel says about a box; about the network where no box is meant. */
  function detail(ctx, node) {
    const { network } = ctx;
    if (!node) {
      return [
        h('h2', {}, 'Point at a box'),
        h(
          'p.quiet',
          {},
          'for its sizes, its formula and its line of source. A click opens the ' +
            'layer, or unfolds a box that holds several.',
        ),
        dom.notes(network.notes),
      ];
    }
    if (!node.folded) return layerDetail(node.layers[0]);
    const sum = (read) => tree.total(node.layers, read);
    return [
      h('h2.address', {}, node.key.replace(/\/.*$/, '')),
      h('p.quiet', {}, format.plural(node.layers.length, 'layer')),
      dom.facts([
        ['Output', format.shape(node.layers.at(-1).output_shape)],
        ['Parameters', format.count(sum((l) => l.parameters))],
        ['MACs', format.short(sum((l) => l.macs))],
        ['Kept for backward', format.bytes(sum((l) => l.saved))],
      ]),
    ];
  }

  function layerDetail(layer) {
    const { field } = layer;
    return [
      h('h2.address', {}, layer.address),
      h('p.quiet', {}, [format.operator(layer.operator), layer.module_type].filter(Boolean).join(' · ')),
      dom.facts([
        ['In → out', `${layer.input_shapes.map(format.shape).join(', ')} → ${format.shape(layer.output_shape)}`],
        ['Size', layer.formula],
        ['Parameters', format.count(layer.parameters)],
        ['MACs', format.short(layer.macs)],
        ['Kept for backward', format.known(layer.saved) ? format.bytes(layer.saved) : null],
        ['Receptive field', field ? format.fieldSize(field) : null, 'pixels of the input that one position sees'],
        ['… covers', field ? `${format.percent(field.coverage)} of the image` : null],
        ['Settings', settings(layer)],
      ]),
      layer.source ? h('p.source', {}, layer.source) : null,
    ];
  }

  const settings = (layer) =>
    Object.entries(layer.settings ?? {})
      .map(([k, v]) => `${k} ${Array.isArray(v) ? v.join('×') : v}`)
      .join(', ') || null;

  Object.assign((window.convscope.pages ??= {}), { '': render });
  Object.assign(window.convscope, { layerFacts: layerDetail });
}

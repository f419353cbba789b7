'use strict';
/** The network drawn: boxes for layers and folded groups, outlines for open groups, lines between them. */
{
  const {
    dom: { s },
    format,
    colour,
    tree,
    layout,
    route: routes,
    theme,
  } = window.convscope;

  /**
   * @param {any} ctx
   * @param {any} placed what `layout` gave
   * @param {any} overlay the quantity that colours the boxes, or null
   * @param {any} scale its `low` and `high`
   * @param {any} actions `open`, a Set of group keys; `setOpen(keys)`; `show(node)`
   * @returns {SVGElement}
   */
  function draw(ctx, placed, overlay, scale, actions) {
    const margin = 6;
    const lines = placed.lines.map((line) =>
      s(`path.edge${line.skip ? '.shortcut' : ''}`, {
        'd': layout.curve(line.points),
        'dataset': { from: line.from, to: line.to },
        'marker-end': 'url(#arrow)',
      }),
    );
    const boxes = placed.boxes.map((box) =>
      box.node.children ? outline(box, actions) : plate(ctx, box, overlay, scale, actions),
    );
    const width = Math.ceil(placed.width + 2 * margin),
      height = Math.ceil(placed.height + 2 * margin);
    const count = placed.boxes.filter((b) => !b.node.children).length;
    return s(
      'svg.network',
      {
        width,
        height,
        'viewBox': `${-margin} ${-margin} ${width} ${height}`,
        'role': 'group',
        'aria-label': `The network as ${format.plural(count, 'box', 'boxes')}`,
        'dataset': { testid: 'network', boxes: count, edges: lines.length },
      },
      s(
        'defs',
        {},
        s(
          'marker',
          { id: 'arrow', viewBox: '0 0 6 6', refX: 5, refY: 3, markerWidth: 6, markerHeight: 6, orient: 'auto' },
          s('path.arrow', { d: 'M0 0L6 3L0 6z' }),
        ),
      ),
      boxes.filter((_, i) => placed.boxes[i].node.children),
      lines,
      boxes.filter((_, i) => !placed.boxes[i].node.children),
    );
  }

  /** An open group: its outline, and its name as the button that folds it. */
  function outline(box, { open, setOpen }) {
    const fold = () => setOpen([...open].filter((key) => key !== box.key));
    return s(
      'g.group',
      { transform: `translate(${box.x} ${box.y})` },
      s('rect', { width: box.width, height: box.height, rx: 10 }),
      s(
        'g.fold',
        {
          'role': 'button',
          'tabindex': 0,
          'id': `box-${box.key}`,
          'aria-label': `Fold ${box.node.name}`,
          'aria-expanded': 'true',
          'dataset': { testid: `fold-${box.key}` },
          'onclick': fold,
          'onkeydown': pressed(fold),
        },
        s('rect.hit', { x: 4, y: 3, width: Math.min(box.width - 8, 26 + 7.5 * box.node.name.length), height: 20, rx: 5 }),
        s('text', { x: 10, y: 17 }, `− ${box.node.name}`),
      ),
    );
  }

  const pressed = (action) => (event) => {
    if (event.key !== 'Enter' && event.key !== ' ') return;
    event.preventDefault();
    event.stopPropagation();
    action();
  };

  /** One layer, or a folded group: name, operator, size; click opens. */
  function plate(ctx, box, overlay, scale, { open, setOpen, show }) {
    const { node } = box;
    if (node.input) return inputPlate(ctx, box);
    const layer = node.layers.at(-1);
    const value = overlay ? tree.total(node.layers, overlay.read, overlay.how) : null;
    const at = overlay ? colour.position(value, scale.low, scale.high, overlay.log) : null;
    const fill = at === null ? null : colour.ramp(at, theme.isDark());
    const style = { fill: fill && colour.css(colour.inkOn(fill)) };
    const unfold = () => setOpen([...open, node.key]);
    const what = node.folded ? format.plural(node.layers.length, 'layer') : format.operator(layer.operator);
    const right = overlay ? overlay.write(value) : format.shape(layer.output_shape);
    const href = node.folded ? null : routes.build('layer', [layer.address]);
    const label = `${node.name}, ${what}, ${format.shape(layer.output_shape)}${overlay ? `, ${overlay.text} ${right}` : ''}`;
    const common = {
      'id': `box-${box.key}`,
      'transform': `translate(${box.x} ${box.y})`,
      'aria-label': label,
      'dataset': { testid: `box-${box.key}` },
      'onmouseenter': () => show(node),
      'onfocus': () => show(node),
    };
    const inside = [
      node.folded ? s('rect.under', { x: 4, y: 4, width: box.width, height: box.height, rx: 7 }) : null,
      s('rect.plate', { width: box.width, height: box.height, rx: 7, style: { fill: fill && colour.css(fill) } }),
      s('text.name', { x: 12, y: 19, style }, (node.folded ? '+ ' : '') + clip(node.name, 25)),
      s('text.what', { x: 12, y: 35, style }, clip(what, 17)),
      s('text.size', { 'x': box.width - 12, 'y': 35, 'text-anchor': 'end', style }, right),
    ];
    if (node.folded) {
      return s(
        'g.box.folded',
        {
          ...common,
          'role': 'button',
          'tabindex': 0,
          'aria-expanded': 'false',
          'onclick': unfold,
          'onkeydown': pressed(unfold),
        },
        inside,
      );
    }
    return s('a.box', { ...common, href }, inside);
  }

  const inputPlate = (ctx, box) =>
    s(
      'g.box.input',
      { transform: `translate(${box.x} ${box.y})` },
      s('rect.plate', { width: box.width, height: box.height, rx: 16 }),
      s(
        'text.size',
        { 'x': box.width / 2, 'y': 20.5, 'text-anchor': 'middle' },
        `input ${format.shape(ctx.network.input_shape)}`,
      ),
    );

  const clip = (text, n) => (text.length > n ? text.slice(0, n - 1) + '…' : text);

  Object.assign(window.convscope, { drawNetwork: draw });
}

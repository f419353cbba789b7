'use strict';
/** Maps and small grids of numbers for the mechanics page: colour says the number, orange frames say what is in play. */
{
  const {
    dom: { h },
    colour,
    format,
    theme,
    cells: lib,
  } = window.convscope;
  const TEXT = 7; // columns up to which the numbers are written into a grid
  const MANY = 160; // cells above which a grid is drawn as one picture

  /** At most six characters: 0.314, −12.4, 4e−5. */
  function compact(v) {
    const size = Math.abs(v);
    if (v === 0 || !Number.isFinite(v)) return format.number(v);
    const text = size < 0.01 || size >= 1000 ? v.toExponential(0).replace('e+', 'e') : size < 1 ? v.toFixed(3) : v.toPrecision(3);
    return text.replaceAll('-', '−');
  }

  const limitOf = (numbers) => numbers.reduce((most, v) => Math.max(most, Math.abs(v)), 0) || 1;

  /**
   * A map as a picture. `marks`: positions in play; `at`: the one that is worked out; `margins`: cells of padding around it,
   * drawn hatched; `pick(position)` on a click. @returns {HTMLElement} a figure
   */
  function map(numbers, { title, id, marks = [], at = null, margins = [0, 0, 0, 0], pick = null, room = 300 }) {
    const [rows, columns] = lib.extent(numbers);
    const [above, right, below, left] = margins.some((n) => n > 8) ? [0, 0, 0, 0] : margins;
    const [high, wide] = [rows + above + below, columns + left + right];
    const unit = room / Math.max(high, wide) >= 1 ? Math.min(36, Math.floor(room / Math.max(high, wide))) : room / Math.max(high, wide);
    const ratio = window.devicePixelRatio || 1;
    const canvas = /** @type {HTMLCanvasElement} */ (h('canvas.map-cells', {
      'width': Math.round(wide * unit * ratio),
      'height': Math.round(high * unit * ratio),
      'role': 'img',
      'aria-label': `${title}, ${numbers.shape.join('×')} numbers from ${format.number(least(numbers))} to ${format.number(most(numbers))}`,
      'dataset': { testid: id, shape: numbers.shape.join(), at: at ? at.join() : '', marks: marks.length },
    }));
    canvas.style.width = `${wide * unit}px`;
    canvas.style.height = 'auto';
    canvas.style.aspectRatio = `${wide} / ${high}`;
    const pen = canvas.getContext('2d');
    pen.scale(canvas.width / wide, canvas.height / high);
    if (above + right + below + left) hatch(pen, wide, high);
    pen.imageSmoothingEnabled = false;
    pen.drawImage(picture(numbers, rows, columns), left, above);
    const spot = (position) => (numbers.shape.length === 2 ? position : [Math.floor(position[0] / columns), position[0] % columns]);
    frames(pen, marks.map(spot), left, above, unit);
    if (at) cursor(pen, spot(at), left, above, unit);
    if (pick) {
      canvas.classList.add('pick');
      canvas.addEventListener('click', (event) => {
        const box = canvas.getBoundingClientRect();
        const x = Math.floor(((event.clientX - box.left) / box.width) * wide) - left;
        const y = Math.floor(((event.clientY - box.top) / box.height) * high) - above;
        const position = numbers.shape.length === 2 ? [y, x] : [y * columns + x];
        if (x >= 0 && x < columns && y >= 0 && lib.inside(numbers, position)) pick(position);
      });
    }
    return h('figure.cells', {}, h('figcaption', {}, title), canvas, scale(limitOf(numbers.at)));
  }

  const least = (numbers) => numbers.at.reduce((a, b) => Math.min(a, b), Infinity);
  const most = (numbers) => numbers.at.reduce((a, b) => Math.max(a, b), -Infinity);
  const scale = (limit) =>
    h('span.map-scale', {}, h('span', {}, `−${format.number(limit)}`), h('i', { 'aria-hidden': 'true' }), h('span', {}, `+${format.number(limit)}`));

  const pictures = new WeakMap(); // numbers -> their picture, for the theme it was made in

  function picture(numbers, rows, columns) {
    const kept = pictures.get(numbers);
    if (kept?.dark === theme.isDark()) return kept.small;
    const small = document.createElement('canvas');
    [small.width, small.height] = [columns, rows];
    const pen = small.getContext('2d');
    const pixels = pen.createImageData(columns, rows);
    const limit = limitOf(numbers.at);
    const dark = theme.isDark();
    numbers.at.forEach((v, n) => pixels.data.set([...colour.diverging(v / limit, dark).map(Math.round), 255], 4 * n));
    pen.putImageData(pixels, 0, 0);
    pictures.set(numbers, { small, dark });
    return small;
  }

  const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function hatch(pen, wide, high) {
    pen.fillStyle = ink('--sunken');
    pen.fillRect(0, 0, wide, high);
    pen.strokeStyle = ink('--strong-line');
    pen.lineWidth = 0.12;
    for (let d = -high; d < wide; d += 0.5) {
      pen.beginPath();
      pen.moveTo(d, high);
      pen.lineTo(d + high, 0);
      pen.stroke();
    }
  }

  /** One frame around cells that lie together, a frame each around those that do not. */
  function frames(pen, spots, left, above, unit) {
    if (!spots.length) return;
    const ys = spots.map((s) => s[0]);
    const xs = spots.map((s) => s[1]);
    const [y0, y1] = [Math.min(...ys), Math.max(...ys)];
    const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
    const together = (y1 - y0 + 1) * (x1 - x0 + 1) === spots.length;
    pen.strokeStyle = ink('--field');
    pen.lineWidth = Math.max(1.5, unit > 12 ? 2 : 1.5) / unit;
    if (together || spots.length > 400) pen.strokeRect(left + x0, above + y0, x1 - x0 + 1, y1 - y0 + 1);
    else for (const [y, x] of spots) pen.strokeRect(left + x + 0.15, above + y + 0.15, 0.7, 0.7);
  }

  /** The cell that is worked out: never smaller than can be seen. */
  function cursor(pen, [y, x], left, above, unit) {
    const side = Math.max(1, 6 / unit);
    const from = (v) => v + 0.5 - side / 2;
    pen.lineWidth = 4 / unit;
    pen.strokeStyle = ink('--paper');
    pen.strokeRect(left + from(x), above + from(y), side, side);
    pen.lineWidth = 2 / unit;
    pen.strokeStyle = ink('--field');
    pen.strokeRect(left + from(x), above + from(y), side, side);
  }

  /**
   * A small grid of numbers, written out where there is room. `marked(n)`: the winner, or the weight that is worked out;
   * `outside(n)`: padding, hatched; `pick(n)` makes the cells buttons.
   */
  function grid(numbers, shape, { title, id, outside = () => false, marked = () => false, pick = null, limit = 0, note = null }) {
    const [rows, columns] = shape.length === 2 ? shape : [1, shape[0]];
    if (rows * columns > MANY) {
      return map({ shape: [rows, columns], at: Float64Array.from(numbers) }, { title, id, room: 220 });
    }
    const written = columns <= TEXT;
    const range = limit || limitOf(numbers);
    const dark = theme.isDark();
    const cells = numbers.map((v, n) => {
      const fill = colour.diverging(v / range, dark);
      const style = outside(n) ? {} : { 'background-color': colour.css(fill), 'color': colour.css(colour.inkOn(fill)) };
      const name = outside(n) ? 'padding' : format.number(v);
      const classes = `${outside(n) ? '.outside' : ''}${marked(n) ? '.marked' : ''}`;
      const text = written ? (outside(n) ? '0' : compact(v)) : '';
      return pick
        ? h(`button.cell${classes}`, { type: 'button', style, title: `${name}: change it`, 'aria-label': `${title} ${n}: ${name}`, onclick: () => pick(n) }, text)
        : h(`span.cell${classes}`, { style, title: name }, text);
    });
    const size = written ? '46px' : `${Math.max(10, Math.min(26, Math.floor(250 / columns)))}px`;
    return h(
      'figure.cells',
      {},
      h('figcaption', {}, title),
      h('div.grid-cells', { dataset: { testid: id, count: numbers.length }, style: { '--columns': String(columns), '--cell': size } }, cells),
      note,
    );
  }

  Object.assign(window.convscope, { cellMap: map, cellGrid: grid });
}

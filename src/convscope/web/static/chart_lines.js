'use strict';
/** Lines over the layers of a network, and a matrix of layers against layers. SVG, one series a line. */
{
  const {
    dom: { h, s },
    format,
    colour,
    theme,
  } = window.convscope;

  /**
   * Values between 0 and 1 (or their own range) over named places. @param {string[]} names along the x axis
   * @param {Array<{name: string, values: Array<?number>, quiet?: boolean}>} series a quiet one is dashed @param {{low?: number, high?: number, label: string}} how
   */
  function lines(names, series, how) {
    const bottom = 22 + Math.min(52, 5 * Math.max(...names.map((name) => short(name).length)));
    const [width, height, left, right, top] = [920, 186 + bottom, 44, 16, 12];
    const all = series.flatMap((one) => one.values).filter((v) => format.known(v));
    const [low, high] = [how.low ?? Math.min(0, ...all), how.high ?? Math.max(...all, 1e-9)];
    const x = (i) => left + ((width - left - right) * (names.length === 1 ? 0.5 : i / (names.length - 1)));
    const y = (v) => top + (height - top - bottom) * (1 - (v - low) / (high - low || 1));
    const ticks = Array.from({ length: 5 }, (_, i) => low + ((high - low) * i) / 4);
    const every = Math.ceil(names.length / 40);
    const hues = colour.CLASSES[theme.isDark() ? 'dark' : 'light'];
    return h(
      'figure.depth-lines',
      {},
      s(
        'svg.chart',
        { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': how.label, dataset: { testid: how.id ?? 'lines' } },
        ticks.map((v) => [
          s('line.grid', { x1: left, x2: width - right, y1: y(v), y2: y(v) }),
          s('text', { x: left - 6, y: y(v) + 4, 'text-anchor': 'end' }, format.number(v, 2)),
        ]),
        names.map((name, i) =>
          i % every
            ? null
            : s('text.tilted', { 'x': x(i), 'y': height - bottom + 14, 'text-anchor': 'end', 'transform': `rotate(-40 ${x(i)} ${height - bottom + 14})` }, short(name)),
        ),
        series.map((one, k) => line(one, k, hues[k % hues.length], names, x, y)),
      ),
      series.length > 1
        ? h(
            'figcaption.legend',
            {},
            series.map((one, k) => h('span', {}, h('i', { style: { background: hues[k % hues.length] } }), one.name)),
          )
        : null,
    );
  }

  function line(one, k, hue, names, x, y) {
    const points = one.values.map((v, i) => (format.known(v) ? [x(i), y(v)] : null));
    const path = points
      .map((p, i) => (p ? `${points[i - 1] ? 'L' : 'M'}${p[0].toFixed(1)} ${p[1].toFixed(1)}` : ''))
      .join('');
    return [
      s(`path.series${one.quiet ? '.beside' : ''}`, { d: path, style: { stroke: hue } }),
      points.map((p, i) =>
        p
          ? s('circle', { cx: p[0], cy: p[1], r: 3, style: { fill: hue } }, s('title', {}, `${names[i]}: ${one.name} ${format.number(one.values[i])}`))
          : null,
      ),
    ];
  }

  /** The last two parts of an address: enough to know a layer by. */
  const short = (name) => name.split('.').slice(-2).join('.');

  /** Values 0 … 1 of every layer against every other. */
  function matrix(names, values, label) {
    const cell = Math.max(8, Math.min(26, Math.floor(760 / names.length)));
    const margin = 14 + 7 * Math.max(...names.map((name) => short(name).length));
    const dark = theme.isDark();
    const ink = (v) => (format.known(v) ? `rgb(${colour.ramp(v, dark).map(Math.round).join(' ')})` : 'none');
    const size = margin + cell * names.length;
    return s(
      'svg.chart.matrix',
      { viewBox: `0 0 ${size} ${size}`, style: { 'max-width': `${size}px` }, role: 'img', 'aria-label': label, dataset: { testid: 'matrix' } },
      values.map((row, i) =>
        row.map((v, j) =>
          s(
            'rect',
            { x: margin + j * cell, y: margin + i * cell, width: cell - 1, height: cell - 1, fill: ink(v) },
            s('title', {}, `${names[i]} and ${names[j]}: ${format.number(v)}`),
          ),
        ),
      ),
      cell < 9
        ? null
        : names.map((name, i) => i % Math.ceil(13 / cell) ? null : [
            s('text', { 'x': margin - 6, 'y': margin + (i + 0.5) * cell + 4, 'text-anchor': 'end' }, short(name)),
            s('text', { 'x': margin + (i + 0.5) * cell, 'y': margin - 6, 'transform': `rotate(-50 ${margin + (i + 0.5) * cell} ${margin - 6})` }, short(name)),
          ]),
    );
  }

  Object.assign(window.convscope.chart, { lines, matrix });
}

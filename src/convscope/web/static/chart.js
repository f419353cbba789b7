'use strict';
/** Small charts in SVG: a histogram, and bars with names. */
{
  const {
    dom: { h, s },
    format,
  } = window.convscope;

  /**
   * How often which value occurred. Responses after a ReLU are mostly zero, so counts are drawn by logarithm unless asked.
   * @param {number[]} counts @param {number} low @param {number} high edges of the first and the last bin
   */
  function histogram(counts, low, high, logarithmic) {
    const [width, height, left, bottom] = [520, 150, 4, 22];
    const read = (n) => (logarithmic ? Math.log10(1 + n) : n);
    const top = Math.max(read(1), ...counts.map(read));
    const step = (width - 2 * left) / counts.length;
    const bars = counts.map((n, i) =>
      s(
        'rect.bar',
        {
          x: left + i * step + 0.5,
          width: Math.max(step - 1, 0.5),
          y: height - bottom - ((height - bottom - 8) * read(n)) / top,
          height: ((height - bottom - 8) * read(n)) / top,
        },
        s(
          'title',
          {},
          `${format.number(low + ((high - low) * i) / counts.length)} to ` +
            `${format.number(low + ((high - low) * (i + 1)) / counts.length)}: ${format.count(n)}`,
        ),
      ),
    );
    const label = (x, anchor, text) => s('text', { x, 'y': height - 6, 'text-anchor': anchor }, text);
    const zero = low < 0 && high > 0 ? left + (width - 2 * left) * (-low / (high - low)) : null;
    const total = counts.reduce((a, b) => a + b, 0);
    return s(
      'svg.chart',
      {
        'viewBox': `0 0 ${width} ${height}`,
        'role': 'img',
        'dataset': { testid: 'histogram', bins: counts.length, total },
        'aria-label': `Histogram of ${format.count(total)} values from ${format.number(low)} to ${format.number(high)}`,
      },
      s('line.axis', { x1: left, x2: width - left, y1: height - bottom, y2: height - bottom }),
      bars,
      zero === null
        ? null
        : [s('line.zero', { x1: zero, x2: zero, y1: 8, y2: height - bottom }), label(zero, 'middle', '0')],
      label(left, 'start', format.number(low)),
      label(width - left, 'end', format.number(high)),
    );
  }

  /**
   * Names, bars and values. @param {Array<{name, value, text?, mark?, href?}>} rows
   * @param {number} scale the value that fills the bar
   */
  function bars(rows, scale, testid) {
    return h(
      'ol.bars',
      { dataset: { testid } },
      rows.map((row) =>
        h(
          `li${row.mark ? '.' + row.mark : ''}`,
          {},
          row.href
            ? h('a.name', { href: row.href, title: row.name }, row.name)
            : h('span.name', { title: row.name }, row.name),
          h(
            'span.track',
            { 'aria-hidden': 'true' },
            h(`span.bar${row.value < 0 ? '.negative' : ''}`, {
              style: { width: `${Math.min(100, (100 * Math.abs(row.value ?? 0)) / (scale || 1))}%` },
            }),
          ),
          h('span.value', {}, row.text ?? format.number(row.value)),
        ),
      ),
    );
  }

  /** A share of 1 as a thin bar behind its number. */
  const share = (value) =>
    h(
      'span.share',
      {},
      h(
        'span.track',
        { 'aria-hidden': 'true' },
        h('span.bar', {
          style: { width: `${100 * Math.min(Math.max(value ?? 0, 0), 1)}%` },
        }),
      ),
      h('span.value', {}, format.percent(value)),
    );

  Object.assign(window.convscope, { chart: { histogram, bars, share } });
}

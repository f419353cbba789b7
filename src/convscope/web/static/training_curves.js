'use strict';
/** Curves of the training view: the loss above the map, on the map's own axis; and a proof's control against its remedy. */
{
  const {
    dom: { h, s },
    format,
    health,
  } = window.convscope;
  const HIGH = 170;

  const finite = (list) => list.map(health.value).filter((v) => Number.isFinite(v));

  /** A vertical scale for losses: from zero, or by the logarithm where they span more than a factor of 30. */
  function scale(values, top, bottom, log = null) {
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const logarithmic = log ?? (values.length > 0 && least > 0 && most > 30 * least);
    const read = logarithmic ? Math.log10 : (v) => v;
    const low = values.length ? read(logarithmic ? least : Math.min(least, 0)) : 0;
    const high = values.length && read(most) > low ? read(most) : low + 1;
    const y = (v) => top + (bottom - top) * (1 - (read(v) - low) / (high - low));
    return { y, ticks: logarithmic ? decades(low, high) : round(low, high), logarithmic };
  }

  /** Round numbers between two: multiples of 1, 2 or 5 times a power of ten, three to six of them. */
  function round(low, high) {
    const rough = (high - low) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].find((n) => n * power >= rough) * power;
    const from = Math.ceil(low / step - 1e-9);
    return Array.from({ length: Math.floor(high / step + 1e-9) - from + 1 }, (_, i) => (from + i) * step);
  }

  /** Powers of ten between two logarithms, with the ends where there are fewer than two. */
  function decades(low, high) {
    const [from, to] = [Math.ceil(low), Math.floor(high)];
    if (to <= from) return [10 ** low, 10 ** high];
    const every = Math.ceil((to - from) / 5);
    return Array.from({ length: Math.floor((to - from) / every) + 1 }, (_, i) => 10 ** (from + i * every));
  }

  /** The path of a line; what is not finite breaks it. */
  function path(points) {
    let pen = false;
    return points
      .map(([x, y]) => {
        if (!Number.isFinite(y)) {
          pen = false;
          return '';
        }
        const part = `${pen ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
        pen = true;
        return part;
      })
      .join('');
  }

  const grid = (ticks, y, left, right) =>
    ticks.map((v) => [s('line.grid', { x1: left, x2: right, y1: y(v), y2: y(v) }), s('text', { 'x': left - 6, 'y': y(v) + 4, 'text-anchor': 'end' }, format.number(v, 2))]);

  /**
   * The loss of every step, with the steps' marks shared with the map.
   * @param run the run's data @param axis the shared axis @param left pixels before it @param width of the whole chart
   */
  function loss(run, axis, left, width, chosen, choose) {
    // null: not looked at
    const told = run.steps.loss.map((v, i) => [run.steps.step[i], health.value(v)]).filter(([, v]) => v !== null);
    const [steps, values] = [told.map(([step]) => step), told.map(([, v]) => v)];
    const [top, bottom] = [10, HIGH - 24];
    const { y, ticks, logarithmic } = scale(finite(values), top, bottom);
    const { broken } = run;
    const [wall, late] = [left + axis.x(broken ?? 0), axis.x(broken ?? 0) > axis.right / 2];
    const ticked = axis.ticks(width < 500 ? 3 : 6);
    const cursor = s('line.cursor', { y1: top, y2: bottom });
    const dot = s('circle.cursor', { r: 4 });
    const chart = s(
      'svg.chart.loss',
      { 'width': width, 'height': HIGH, 'role': 'img', 'dataset': { testid: 'loss', log: String(logarithmic) }, 'aria-label': `Loss at ${format.plural(values.length, 'step')}${logarithmic ? ', logarithmic' : ''}` },
      grid(ticks, y, left, left + axis.right),
      ticked.map((step, i) => s('text', { 'x': left + axis.x(step), 'y': HIGH - 6, 'text-anchor': axis.x(step) > axis.right - 24 ? 'end' : i && axis.x(step) > 24 ? 'middle' : 'start' }, format.count(step))),
      values.length > 40 ? null : values.map((v, i) => (Number.isFinite(v) ? s('circle.point', { cx: left + axis.x(steps[i]), cy: y(v), r: 2.5 }) : null)),
      s('path.series', { d: path(values.map((v, i) => [left + axis.x(steps[i]), Number.isFinite(v) ? y(v) : NaN])) }),
      broken === null ? null : [s('line.broken', { x1: wall, x2: wall, y1: top, y2: bottom }), s('text.broken', { 'x': wall + (late ? -6 : 6), 'y': top + 12, 'text-anchor': late ? 'end' : 'start' }, `not finite from step ${format.count(broken)}`)],
      cursor,
      dot,
    );
    chart.addEventListener('click', (event) => choose(axis.step(event.clientX - chart.getBoundingClientRect().left - left)));
    const mark = ({ step }) => {
      const at = step === null ? -1 : health.index(steps, step);
      for (const part of [cursor, dot]) part.classList.toggle('off', at < 0);
      if (at < 0) return;
      const x = left + axis.x(step);
      cursor.setAttribute('x1', x);
      cursor.setAttribute('x2', x);
      dot.classList.toggle('off', !Number.isFinite(values[at]));
      dot.setAttribute('cx', x);
      dot.setAttribute('cy', Number.isFinite(values[at]) ? y(values[at]) : 0);
    };
    mark(chosen);
    return { element: chart, mark };
  }

  /** Control and remedy on the same axes: a thin line a seed, a thick mean, each named where it ends. */
  function proof(name, content) {
    const [width, left, right, top, bottom] = [460, 46, 64, 10, HIGH - 24];
    const arms = Object.entries(content.arms);
    const all = arms.flatMap(([, arm]) => arm.seeds.flatMap(finite));
    const { y, ticks } = scale(all, top, bottom, content.log);
    const steps = content.steps;
    const x = (i) => (steps.length > 1 ? left + ((width - left - right) * (steps[i] - steps[0])) / (steps.at(-1) - steps[0]) : (left + width - right) / 2);
    const line = (arm, values, thick) =>
      s(`path.arm.${arm}${thick ? '.mean' : ''}`, { d: path(values.map((v, i) => [x(i), Number.isFinite(health.value(v)) ? y(health.value(v)) : NaN])) });
    const ends = arms.map(([arm, { mean }]) => [arm, finite(mean).at(-1)]).filter(([, end]) => end !== undefined).sort((a, b) => y(a[1]) - y(b[1]));
    const heights = [];
    for (const [, end] of ends) heights.push(Math.max(y(end), (heights.at(-1) ?? -Infinity) + 15));
    const over = Math.max(0, (heights.at(-1) ?? 0) - bottom);
    return h(
      'figure.proof-curves',
      { dataset: { testid: `proof-${name}` } },
      s(
        'svg.chart',
        { 'viewBox': `0 0 ${width} ${HIGH}`, 'role': 'img', 'aria-label': `Proof of ${name}. ${content.said}` },
        grid(ticks, y, left, width - right),
        steps.length ? [s('text', { x: left, y: HIGH - 6 }, `step ${format.count(steps[0])}`), s('text', { 'x': width - right, 'y': HIGH - 6, 'text-anchor': 'end' }, format.count(steps.at(-1)))] : null,
        arms.map(([arm, { seeds }]) => seeds.map((one) => line(arm, one, false))),
        arms.map(([arm, { mean }]) => line(arm, mean, true)),
        ends.map(([arm], i) => s(`text.arm.${arm}`, { x: width - right + 6, y: heights[i] - over + 4 }, arm)),
      ),
      h('figcaption', {}, content.said, '; thin: one seed, thick: their mean', content.log ? '; logarithmic' : ''),
    );
  }

  Object.assign(window.convscope, { trainingCurves: { loss, proof } });
}

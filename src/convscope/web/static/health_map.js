'use strict';
/** The health map: layers × steps on a canvas, its names, its scale; hover reads a number, a click or the arrows choose one. */
{
  const {
    dom: { h },
    colour,
    format,
    health,
    theme,
  } = window.convscope;
  const [TALL, LEAST, MOST] = [18, 11, 420]; // pixels of a row at most and at least; of the whole map before rows shrink

  /** A number of a measure in words. */
  const written = (measure, raw) => {
    const v = health.value(raw);
    if (!health.seen(v)) return 'not seen';
    return measure.share && Number.isFinite(v) ? format.percent(v) : format.number(v);
  };

  const ink = (measure, raw) => {
    const t = health.tone(measure, raw);
    if (t === null) return null;
    return colour.css(measure.band ? colour.diverging(t, theme.isDark()) : colour.ramp(t, theme.isDark()));
  };

  /**
   * @param run {layers, columns, health} @param measure one of the data's measures
   * @param chosen {layer: ?string, step: ?number} @param events {choose({layer, step}), hover(?{layer, step, text})}
   * @returns {{element: HTMLElement, mark(chosen), resize(width): void}}
   */
  function create(run, measure, chosen, events) {
    const rows = run.layers.length;
    const row = Math.max(LEAST, Math.min(TALL, Math.floor(MOST / rows)));
    const values = run.health[measure.key] ?? run.layers.map(() => []);
    const canvas = h('canvas.health', {
      'tabindex': 0,
      'id': 'health',
      'role': 'application',
      'dataset': { testid: 'health', measure: measure.key },
      'aria-label': `${measure.name} of ${format.plural(rows, 'layer')} at ${format.plural(run.columns.length, 'step')}. Arrows move by a layer or a step, Home and End to the first and last step.`,
    });
    const names = h(
      'div.health-names',
      { 'aria-hidden': 'true', 'style': { 'line-height': `${row}px`, 'font-size': row < 15 ? '10px' : null } },
      run.layers.map((layer) => h('span', { title: layer }, layer)),
    );
    const element = h('div.health-map', {}, names, canvas);
    let axis = null,
      now = chosen;

    const column = () => (now.step === null ? -1 : health.index(run.columns, now.step));
    const line = () => run.layers.indexOf(now.layer);

    function draw() {
      const ratio = window.devicePixelRatio || 1;
      const [width, height] = [Math.max(axis.right, 1), Math.max(rows * row, 1)];
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
      const g = canvas.getContext('2d');
      const style = getComputedStyle(document.documentElement);
      g.fillStyle = style.getPropertyValue('--unseen');
      g.fillRect(0, 0, canvas.width, canvas.height);
      const rank = (j) => Math.max(...values.map((of) => Math.abs(health.tone(measure, of[j]) ?? -1)));
      const shown = health.shownColumns(run.columns.length, canvas.width, rank) ?? run.columns.map((_, j) => j);
      const edge = (p) => Math.round((p * canvas.width) / shown.length);
      const low = (i) => Math.round(i * row * ratio);
      shown.forEach((j, p) => {
        for (let i = 0; i < rows; i += 1) {
          g.fillStyle = ink(measure, values[i][j]) ?? 'transparent';
          g.fillRect(edge(p), low(i), edge(p + 1) - edge(p), low(i + 1) - low(i));
        }
      });
      g.fillStyle = style.getPropertyValue('--paper');
      for (let i = 1; i < rows; i += 1) g.fillRect(0, low(i), canvas.width, 1);
      outline(g, style, ratio);
      [...names.children].forEach((name, i) => name.classList.toggle('chosen', i === line()));
      Object.assign(canvas.dataset, { step: now.step ?? '', layer: now.layer ?? '', columns: run.columns.length });
    }

    /** The chosen step as a frame around its column, the chosen layer around its row's cell. */
    function outline(g, style, ratio) {
      const at = column();
      if (at < 0) return;
      g.strokeStyle = style.getPropertyValue('--ink');
      g.lineWidth = ratio;
      const wide = Math.max(axis.cell * ratio, 2);
      g.strokeRect(at * axis.cell * ratio + ratio / 2, ratio / 2, wide - ratio, canvas.height - ratio);
      if (line() < 0) return;
      g.lineWidth = 2 * ratio;
      g.strokeRect(at * axis.cell * ratio, line() * row * ratio + ratio, Math.max(wide, 4 * ratio), row * ratio - ratio);
    }

    const under = (event) => {
      const box = canvas.getBoundingClientRect();
      const i = Math.min(Math.max(Math.floor((event.clientY - box.top) / row), 0), rows - 1);
      return { layer: run.layers[i], step: axis.step(event.clientX - box.left), i };
    };
    canvas.addEventListener('mousemove', (event) => {
      const { layer, step, i } = under(event);
      events.hover({ layer, step, text: written(measure, values[i][run.columns.indexOf(step)]) });
    });
    canvas.addEventListener('mouseleave', () => events.hover(null));
    canvas.addEventListener('click', (event) => {
      const { layer, step } = under(event);
      events.choose({ layer, step });
    });
    canvas.addEventListener('keydown', (event) => {
      const [i, j] = [Math.max(line(), 0), Math.max(column(), 0)];
      const last = run.columns.length - 1;
      const moves = { ArrowUp: [i - 1, j], ArrowDown: [i + 1, j], ArrowLeft: [i, j - 1], ArrowRight: [i, j + 1], Home: [i, 0], End: [i, last], PageUp: [i, j - 10], PageDown: [i, j + 10] };
      const to = moves[event.key];
      if (!to || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      event.stopPropagation();
      const clip = (n, most) => Math.min(Math.max(n, 0), most);
      events.choose({ layer: run.layers[clip(to[0], rows - 1)], step: run.columns[clip(to[1], last)] });
    });

    return {
      element,
      canvas,
      mark(to) {
        now = to;
        if (axis) draw();
      },
      resize(shared) {
        axis = shared;
        draw();
      },
    };
  }

  /** The scale with numbers, the healthy band marked, and what has no number. */
  function legend(measure) {
    const read = measure.log ? Math.log10 : (x) => x;
    const back = measure.log ? (x) => 10 ** x : (x) => x;
    const [low, high] = [read(measure.low), read(measure.high)];
    const at = (t) => back(low + (high - low) * t);
    const marks = [...new Set([measure.low, ...(measure.band ?? []), measure.high])];
    const band = measure.band?.map((end) => 100 * health.position(measure, end));
    const healthy = measure.band && (measure.band[0] === measure.low ? `at most ${written(measure, measure.band[1])}` : measure.band.map((end) => written(measure, end)).join(' to '));
    const place = (m) => 100 * health.position(measure, m);
    const crowded = (i) => i > 0 && i < marks.length - 1 && (place(marks[i]) < 9 || place(marks[i]) > 88);
    return h(
      'figure.health-legend',
      { dataset: { testid: 'health-legend' } },
      h(
        'div.scale',
        { 'role': 'img', 'aria-label': `${measure.name}: ${written(measure, measure.low)} to ${written(measure, measure.high)}` },
        h('div.colours', {}, Array.from({ length: 64 }, (_, i) => h('i', { style: { background: ink(measure, at(i / 63)) } }))),
        band ? h('div.band', { style: { left: `${band[0]}%`, width: `${band[1] - band[0]}%` } }) : null,
        h('div.marks', {}, marks.map((m, i) => (crowded(i) ? null : h(i === 0 ? 'span.first' : i === marks.length - 1 ? 'span.last' : 'span', { style: { left: `${place(m)}%` } }, written(measure, m))))),
      ),
      h('figcaption', {}, h('b', {}, measure.name), `: ${measure.meaning}. `, healthy ? `Healthy: ${healthy}. ` : 'No healthy band of its own: look how it changes with the depth. ', h('i.unseen', { 'aria-hidden': 'true' }), ' not seen there.'),
    );
  }

  Object.assign(window.convscope, { healthMap: { create, legend, written } });
}

'use strict';
/** `#/training?run=…&measure=…&step=…&layer=…`: how did training go? Findings, the loss, the health of each layer. */
{
  const {
    dom,
    dom: { h },
    data,
    format,
    health,
    healthMap,
    live,
    trainingCurves,
    trainingFindings,
  } = window.convscope;

  const EMPTY = { measures: [], runs: [], findings: [], broken: [] };
  const OTHERS = [
    ['activation_mean', 'activation mean'],
    ['weight_norm', 'weight norm'],
    ['weight_gradient_norm', 'weight gradient norm'],
  ];

  async function render(ctx) {
    // An atlas of an earlier version has no such file; a server always answers.
    const content = ctx.network.training || live.state.on ? await data.load('training') : EMPTY;
    const run = content.runs.find((r) => r.name === ctx.route.query.run) ?? content.runs[0] ?? null;
    const about = content.findings.filter((f) => f.run === null || f.run === run?.name);
    const shown = run ? record(ctx, content, run) : null;
    return h(
      'div',
      {},
      head(ctx, content, run),
      content.broken.map(({ problem }) => h('p.notice.error', { dataset: { testid: 'broken' } }, problem)),
      run || about.length ? null : nothing(),
      about.map((f) => dom.section(f.title || 'Findings', null, trainingFindings.list(f, run, (place) => shown?.go(place)))),
      shown?.element,
      run && !about.length ? h('p.quiet', { dataset: { testid: 'no-findings' } }, 'No findings are kept with this run: save those of cs.check or cs.doctor beside it.') : null,
      run ? facts(run) : null,
    );
  }

  function head(ctx, content, run) {
    const counts = run?.counts;
    const losses = (run?.steps.loss ?? []).map(health.value).filter((v) => v !== null);
    const said = run
      ? [format.plural(counts.steps, 'step'), run.layers.length ? `${format.plural(run.layers.length, 'layer')} watched at ${format.plural(counts.seen, 'step')}` : 'layers were not watched', losses.length ? `loss ${written(losses[0])} at first, ${written(losses.at(-1))} at the end` : null]
      : [];
    return h(
      'div.page-head',
      {},
      h('div', {}, h('h1', {}, 'Training'), run ? h('p.lead', { dataset: { testid: 'training-lead' } }, said.filter(Boolean).join(' · ')) : null),
      h(
        'div.controls',
        {},
        content.runs.length > 1
          ? dom.select('Run', content.runs.map((r) => [r.name, r.name]), run.name, (name) => ctx.set({ run: name, step: null, layer: null }), 'run')
          : null,
        live.state.on
          ? h('button', { type: 'button', id: 'again', dataset: { testid: 'again' }, onclick: () => { data.forget('training'); ctx.refresh(); } }, 'Read again')
          : null,
      ),
    );
  }

  const written = (v) => (Number.isNaN(v) ? 'not a number' : format.number(v));

  const nothing = () =>
    h(
      'div',
      { dataset: { testid: 'no-run' } },
      dom.notice('No training run is kept here yet. Watch one, save it into this folder’s training/, and write the atlas again or open it with convscope serve:'),
      dom.code('import convscope as cs\nwith cs.watch(model, optimizer) as run:\n    ...  # your training loop\nrun.save("training/run.npz")', 'the lines that keep a run'),
    );

  /** The loss, the map under it on the same axis, and all measures at the chosen step. */
  function record(ctx, content, run) {
    const measures = content.measures.filter((m) => (run.health[m.key] ?? []).some((of) => of.some((v) => v !== null)));
    const measure = measures.find((m) => m.key === ctx.route.query.measure) ?? measures[0] ?? null;
    const asked = ctx.route.query.step;
    const steps = measure && run.columns.length ? run.columns : run.steps.step;
    const at = /^\d+$/.test(asked ?? '') && steps.length ? steps[health.index(steps, Number(asked))] : null;
    let chosen = { layer: run.layers.includes(ctx.route.query.layer) ? ctx.route.query.layer : null, step: at };
    const frame = h('div.training-frame');
    const reading = h('p.reading', { 'role': 'status', 'aria-live': 'polite', 'dataset': { testid: 'reading' } });
    const column = h('div', { dataset: { testid: 'column' } });
    let curve = null,
      width = 0;

    const choose = ({ layer = chosen.layer, step }) => {
      chosen = { layer, step };
      ctx.note({ step, layer });
      mark();
    };
    const map = measure
      ? healthMap.create(run, measure, chosen, { choose, hover: (place) => read(place) })
      : null;

    function read(place) {
      const of = place ?? (chosen.step === null || !measure ? null : { ...chosen, text: chosen.layer === null ? null : healthMap.written(measure, run.health[measure.key][run.layers.indexOf(chosen.layer)][run.columns.indexOf(chosen.step)]) });
      reading.textContent = of
        ? [`step ${format.count(of.step)}`, of.layer, of.text ? `${measure.name} ${of.text}` : null].filter(Boolean).join(' · ')
        : map ? 'Point at the map to read a number; click, or use the arrow keys, to choose a step.' : 'Click the curve to choose a step.';
    }
    function mark() {
      map?.mark(chosen);
      curve?.mark(chosen);
      column.replaceChildren(atStep(run, content.measures, chosen, (layer) => choose({ layer, step: chosen.step })) ?? '');
      read(null);
    }
    function fit() {
      const wide = Math.floor(frame.clientWidth) - 2; // a hair's breadth for the map's border
      if (!wide || wide === width) return;
      width = wide;
      frame.style.setProperty('--names', `${left()}px`);
      const axis = health.axis(map ? run.columns : [], run.steps.step, width - left());
      curve = run.steps.loss?.length ? trainingCurves.loss(run, axis, left(), width, chosen, (step) => step !== null && choose({ step })) : null;
      frame.replaceChildren(...[curve?.element, map?.element].filter(Boolean));
      map?.resize(axis);
      mark();
    }
    const left = () => (map ? Math.min(220, Math.max(64, Math.round(width * 0.24), 0), 16 + 7.3 * Math.max(6, ...run.layers.map((l) => l.length))) : 56);
    const observer = new ResizeObserver(fit);
    observer.observe(frame);
    ctx.onLeave(() => observer.disconnect());
    read(null);
    const element = dom.section(
      'Loss and layers',
      measures.length ? dom.select('Measure', measures.map((m) => [m.key, m.name]), measure.key, (key) => ctx.set({ measure: key }), 'measure') : null,
      run.steps.loss?.length || map ? frame : dom.notice('This run holds no loss of single steps.'),
      run.steps.loss?.length || map ? reading : null,
      measure ? healthMap.legend(measure) : dom.notice(run.layers.length ? 'None of the layers was seen: there is no map to draw.' : 'The layers were not watched in this run; cs.watch does.'),
      broke(run, (place) => choose(place)),
      thinned(run),
      column,
    );
    return {
      element,
      go(place) {
        choose({ layer: place.layer ?? chosen.layer, step: place.step === null ? (chosen.step ?? steps[0] ?? null) : steps[health.index(steps, place.step)] ?? null });
        element.scrollIntoView({ block: 'start' });
        map?.canvas.focus({ preventScroll: true });
      },
    };
  }

  /** Where a number first was none: from there on grey may also mean that. */
  const broke = (run, go) =>
    run.first
      ? h(
          'p',
          { dataset: { testid: 'first' } },
          `The first ${run.first.what} that was not finite: `,
          h('button.link', { type: 'button', onclick: () => go({ layer: run.first.layer, step: run.columns[health.index(run.columns, run.first.step)] ?? run.first.step }) }, `${run.first.layer} at step ${format.count(run.first.step)}`),
          '. Grey from there on: no finite number.',
        )
      : null;

  function thinned(run) {
    const { looked, points, seen, columns } = run.counts;
    const said = [
      points < looked ? `${format.count(points)} of ${format.plural(looked, 'loss', 'losses')}, the lowest and the highest of each group` : null,
      columns < seen ? `${format.count(columns)} of ${format.plural(seen, 'watched step')}` : null,
    ].filter(Boolean);
    return said.length ? h('p.quiet', { dataset: { testid: 'thinned' } }, `Drawn: ${said.join('; ')}. The saved run holds all.`) : null;
  }

  /** Every measure of every layer at one step; what is outside its healthy band is said in words too. */
  function atStep(run, measures, chosen, choose) {
    if (chosen.step === null) return null;
    const j = run.columns.indexOf(chosen.step);
    const shown = [...measures, ...OTHERS.map(([key, name]) => ({ key, name, band: null }))].filter((m) => run.health[m.key]);
    const step = run.steps.step.indexOf(chosen.step);
    const others = Object.entries(run.steps).filter(([name]) => name !== 'step' && name !== 'epoch');
    const cell = (m, i) => {
      const raw = run.health[m.key][i][j];
      const verdict = health.verdict(m, raw);
      return h(`td${verdict === 'low' || verdict === 'high' ? '.off' : ''}`, {}, raw === null || raw === undefined ? '–' : healthMap.written(m, raw), verdict === 'high' ? ' ↑' : verdict === 'low' ? ' ↓' : '');
    };
    return dom.section(
      `At step ${format.count(chosen.step)}`,
      null,
      step < 0 ? null : dom.facts(others.map(([name, values]) => [name.replaceAll('_', ' '), said(values[step])])),
      j < 0 || !shown.length
        ? null
        : h(
            'div.table-scroll',
            {},
            h(
              'table.at-step',
              { dataset: { testid: 'at-step' } },
              h('caption', {}, '↑ above and ↓ below the healthy band; – not seen there.'),
              h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'layer'), shown.map((m) => h('th', { scope: 'col', title: m.meaning ?? null }, m.name)))),
              h(
                'tbody',
                {},
                run.layers.map((layer, i) =>
                  h(`tr${layer === chosen.layer ? '.chosen' : ''}`, { dataset: { layer } }, h('th', { scope: 'row' }, h('button.link', { type: 'button', onclick: () => choose(layer) }, layer)), shown.map((m) => cell(m, i))),
                ),
              ),
            ),
          ),
    );
  }

  const said = (raw) => {
    const v = health.value(raw);
    return typeof v === 'string' || v === undefined ? String(raw ?? '–') : Number.isNaN(v) ? 'not a number' : format.number(v, 4);
  };

  /** What the loop was seen to do, and its settings. */
  const facts = (run) =>
    run.loop.length || run.settings.length || run.notes.length
      ? dom.section('The loop', null, run.settings.length ? dom.facts(run.settings) : null, run.loop.length ? h('details.how', {}, h('summary', {}, 'what it was seen to do'), dom.facts(run.loop)) : null, dom.notes(run.notes))
      : null;

  Object.assign(window.convscope.pages, { training: render });
}

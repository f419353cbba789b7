'use strict';
/** Findings of the training view: each with its evidence, cause, remedy as a change of code, proof, and the way to its place. */
{
  const {
    dom,
    dom: { h },
    format,
    health,
    trainingCurves,
  } = window.convscope;

  /** @param content one Findings @param run the run on show, or null @param go to a place {layer, step} of it */
  function list(content, run, go) {
    const known = new Set(content.findings.map((f) => f.fault));
    const loose = Object.entries(content.proofs).filter(([name]) => !known.has(name));
    return h(
      'div.findings',
      { dataset: { testid: 'findings' } },
      content.findings.length
        ? content.findings.map((f, i) => card(f, i, content.proofs[f.fault] ?? null, run, go))
        : dom.notice(content.looked ? `Nothing found: ${format.plural(content.looked, 'thing')} looked at.` : 'Nothing found.'),
      loose.map(([name, proof]) => h('div', {}, h('h3', {}, `Proof of ${name}`), trainingCurves.proof(name, proof))),
      dom.notes(content.notes),
    );
  }

  function card(f, i, proof, run, go) {
    const at = health.place(f.where, f.evidence, run?.layers ?? []);
    const severity = ['error', 'advice', 'fine', 'unknown'].includes(f.severity) ? f.severity : 'unknown';
    const verdict = f.confirmed === null ? null : h(`span.verdict-mark.${f.confirmed ? 'yes' : 'no'}`, {}, f.confirmed ? 'confirmed' : 'not confirmed');
    const link = run && (at.layer !== null || (at.step !== null && hasSteps(run)));
    return h(
      `details.finding.is-${severity}`,
      { open: i === 0 || (f.severity === 'error' && i < 3), dataset: { testid: `finding-${i}` } },
      h('summary', {}, h('span.severity', {}, f.severity), f.fault ? h('code', {}, f.fault) : null, h('span.symptom', {}, f.symptom), verdict),
      f.where
        ? h('p.place', {}, 'Where: ', link ? h('button.link', { type: 'button', dataset: { testid: `place-${i}` }, onclick: () => go(at) }, f.where) : f.where)
        : null,
      h('div.finding-parts', {}, h('div', {}, evidence(f), words('Cause', f.cause), words('Remedy', f.remedy), change(f), words('Proof', f.proof), words('What would disprove it', f.disproof)), proof ? trainingCurves.proof(f.fault, proof) : null),
    );
  }

  const hasSteps = (run) => run.columns.length > 0 || (run.steps.loss ?? []).length > 0;

  const words = (title, text) => (text ? h('p', {}, h('b.part', {}, title), text) : null);

  const evidence = (f) =>
    f.evidence.length
      ? h('table.evidence', {}, h('tbody', {}, f.evidence.map(([name, value]) => h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, value)))))
      : null;

  /** Lines that go and lines that come; the sign is read, the ground only supports it. */
  const change = (f) =>
    f.code.length
      ? h(
          'pre.diff',
          { 'tabindex': 0, 'aria-label': 'The change of the program' },
          f.code.map((line) => (line[0] === '+' ? h('ins', {}, line) : line[0] === '-' ? h('del', {}, line) : h('span', {}, line || ' '))),
        )
      : null;

  Object.assign(window.convscope, { trainingFindings: { list } });
}

'use strict';
/** With `convscope serve`: ask any method of features/ about this unit, with its own settings. */
{
  const {
    dom,
    dom: { h },
    live,
    result,
  } = window.convscope;
  const made = new Map(); // target -> results of this visit, the latest first
  let chosen = 'activation-maximisation';

  /** A section with a form, and what it has brought so far. @param {string} target a unit or layer */
  function ask(ctx, target) {
    if (!live.state.may || !live.state.features.length) return null;
    const method = live.state.features.find((m) => m.name === chosen) ?? live.state.features[0];
    const status = h('div.job', { 'role': 'status', 'aria-live': 'polite', 'dataset': { testid: 'feature-job' } });
    const inputs = method.parameters.map((p) => [p, live.control(p)]);
    const image = h('input', { id: 'feature-image', placeholder: 'none', dataset: { testid: 'feature-image' } });
    for (const [p, input] of inputs) live.remember(`${method.name}.${p.name}`, input);
    const button = h('button.primary', { type: 'submit', dataset: { testid: 'feature-ask' } }, 'Ask');
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        const parameters = live.values(inputs);
        const number = image.value.trim();
        const asked = { target, method: method.name, image: number === '' ? null : Number(number), parameters };
        const { job } = await live.post('api/feature', asked);
        const done = await live.follow(job, status);
        if (done) {
          made.set(target, [done, ...(made.get(target) ?? [])]);
          ctx.refresh();
        }
      } catch (error) {
        status.replaceChildren(h('p.error', {}, error.message));
      }
      button.disabled = false;
    };
    return dom.section(
      'Ask more',
      null,
      h(
        'form.ask',
        { onsubmit: submit, dataset: { testid: 'feature-form' } },
        dom.select(
          'Method',
          live.state.features.map((m) => [m.name, m.name]),
          method.name,
          (name) => {
            chosen = name;
            ctx.refresh();
          },
          'feature-method',
        ),
        h('label.field', { title: 'number of an image of the collection, for methods that start from one' }, h('span', {}, 'image'), image),
        live.labels(inputs),
        button,
        h('p.quiet', {}, method.question),
        status,
      ),
      (made.get(target) ?? []).map((content) => h('div.study', {}, h('h3', {}, content.title), result(content))),
    );
  }

  Object.assign(window.convscope, { askFeature: ask });
}

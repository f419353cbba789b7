'use strict';
/** With `convscope serve`, the page may ask: new heat-maps, pages of any image, the reader's own pictures. */
{
  const {
    dom,
    dom: { h },
    format,
    route: routes,
  } = window.convscope;
  const state = { on: false, may: false, methods: [], features: [] };
  const results = new Map(); // image -> heat-maps made in this visit
  const predictions = new Map(); // upload -> prediction
  const pages = new Map();
  const typed = new Map(); // field of the form -> what the reader wrote, kept while the page is drawn anew

  /** Is there a server behind this page? One question, and only where one can be. */
  async function start() {
    if (!location.protocol.startsWith('http') || !document.documentElement.dataset.live) return;
    const answer = await ask('api/state');
    Object.assign(state, { on: answer.live, may: answer.live && answer.allowed, methods: answer.methods, features: answer.features ?? [] });
  }

  /** @returns {Promise<any>} the answer's JSON; an Error with the server's own sentence if it refuses */
  async function ask(path, options = {}) {
    let response;
    try {
      response = await fetch(path, options);
    } catch {
      throw new Error('The server does not answer. Is “convscope serve” still running?');
    }
    const body = response.headers.get('content-type')?.startsWith('application/json') ? await response.json() : null;
    if (!response.ok) throw new Error(body?.error ?? `The server answered ${response.status}.`);
    return body;
  }

  const post = (path, body) =>
    ask(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

  function image(name) {
    if (!pages.has(name)) {
      const page = ask(`api/image/${encodeURIComponent(name)}`);
      pages.set(name, page);
      page.catch(() => pages.delete(name));
    }
    return pages.get(name);
  }

  const resultsOf = (name) => results.get(String(name)) ?? [];
  const predictionOf = (name) => predictions.get(String(name)) ?? null;

  /** The form of a method: its parameters come from the server, each with its help, unit and range. */
  function form(ctx, name) {
    const chosen = state.methods.find((m) => m.name === ctx.route.query.method) ?? state.methods[0];
    if (!chosen) return null;
    const status = h('div.job', { 'role': 'status', 'aria-live': 'polite', 'dataset': { testid: 'job' } });
    const target = h('input', {
      name: 'target',
      id: 'target',
      list: 'classes',
      placeholder: 'its own first answer',
      dataset: { testid: 'target' },
    });
    const inputs = chosen.parameters.map((p) => [p, control(p)]);
    for (const [key, input] of [['target', target], ...inputs.map(([p, input]) => [`${chosen.name}.${p.name}`, input])])
      remember(key, input);
    const button = h('button.primary', { type: 'submit', dataset: { testid: 'attribute' } }, 'Draw the map');
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        const parameters = values(inputs);
        const asked = {
          image: name.startsWith('upload-') ? name : Number(name),
          method: chosen.name,
          target: target.value.trim() || null,
          parameters,
        };
        const { job } = await post('api/attribute', asked);
        const done = await follow(job, status);
        if (done) {
          results.set(String(name), [done, ...resultsOf(name)]);
          ctx.refresh();
        }
      } catch (error) {
        status.replaceChildren(h('p.error', {}, error.message));
      }
      button.disabled = false;
    };
    return h(
      'form.ask',
      { onsubmit: submit, dataset: { testid: 'ask' } },
      dom.select(
        'Method',
        state.methods.map((m) => [m.name, m.name]),
        chosen.name,
        (v) => ctx.set({ method: v }),
        'method',
      ),
      h('label.field', {}, h('span', {}, 'Target'), target),
      h(
        'datalist',
        { id: 'classes' },
        ctx.network.classes.map((c) => h('option', { value: c })),
      ),
      labels(inputs),
      button,
      h('p.quiet', {}, chosen.question),
      status,
    );
  }

  /** The fields of a method's parameters, each with its name, help and unit. @param {Array<[object, HTMLElement]>} inputs */
  const labels = (inputs) =>
    inputs.map(([p, input]) =>
      h(
        'label.field',
        { title: p.help },
        h('span', {}, p.name.replaceAll('_', ' '), p.unit ? h('small', {}, ` ${p.unit}`) : null),
        input,
      ),
    );

  /** What the reader has set, by name; what was left alone is left to its default. */
  const values = (inputs) =>
    Object.fromEntries(inputs.map(([p, input]) => [p.name, value(p, input)]).filter(([, v]) => v !== undefined));

  function remember(key, input) {
    const property = input.type === 'checkbox' ? 'checked' : 'value';
    if (typed.has(key)) input[property] = typed.get(key);
    input.addEventListener('input', () => typed.set(key, input[property]));
  }

  function control(p) {
    const common = { name: p.name, id: `p-${p.name}`, dataset: { testid: `p-${p.name}` } };
    if (p.choices?.length)
      return h(
        'select',
        common,
        p.choices.map((c) => h('option', { value: c, selected: c === p.default }, c)),
      );
    if (p.type === 'bool') return h('input', { ...common, type: 'checkbox', checked: p.default === true });
    if (/^(int|float)/.test(p.type)) {
      return h('input', {
        ...common,
        type: 'number',
        value: p.default,
        min: p.low,
        max: p.high,
        step: p.type.startsWith('int') ? 1 : 'any',
        placeholder: p.default === null ? 'auto' : null,
      });
    }
    return h('input', { ...common, value: p.default });
  }

  /** What to send for a parameter; undefined leaves it to its default. */
  function value(p, input) {
    if (p.type === 'bool') return input.checked;
    if (input.value === '') return undefined;
    return /^(int|float)/.test(p.type) ? Number(input.value) : input.value;
  }

  /**
   * Watch a job until it ends. @param {?function(any): any} grown told of a result that grows, each time it is looked at
   * @returns {Promise<any>} its result, null if it was cancelled
   */
  async function follow(id, status, grown = null) {
    const bar = h('progress', { max: 1, value: 0 });
    const text = h('span', {}, 'waiting');
    const stop = h(
      'button.small',
      {
        type: 'button',
        dataset: { testid: 'cancel' },
        onclick: () =>
          post(`api/jobs/${id}/cancel`, {}).catch((e) => {
            text.textContent = e.message;
          }),
      },
      'Cancel',
    );
    status.replaceChildren(bar, text, stop);
    for (;;) {
      const job = await ask(`api/jobs/${id}`);
      bar.value = job.progress;
      if (grown && job.result) await grown(job.result);
      text.textContent =
        job.state === 'queued'
          ? 'waiting'
          : `${format.percent(job.progress)}${format.known(job.eta) ? `, about ${format.duration(job.eta)} left` : ''}`;
      if (job.state === 'done') {
        status.replaceChildren();
        return job.result;
      }
      if (job.state === 'failed') throw new Error(job.error);
      if (job.state === 'cancelled') {
        status.replaceChildren(h('p.quiet', {}, 'Cancelled.'));
        return null;
      }
      await new Promise((resolve) => {
        setTimeout(resolve, 250);
      });
    }
  }

  /** Choose a picture of one's own. */
  function uploadButton(ctx) {
    const say = h('span.quiet', { role: 'status' });
    const input = h('input', {
      type: 'file',
      accept: 'image/png,image/jpeg,image/webp,image/bmp,image/gif',
      hidden: true,
      dataset: { testid: 'upload' },
      onchange: async () => {
        const [file] = input.files;
        if (!file) return;
        say.textContent = 'uploading …';
        try {
          const answer = await ask('api/upload', {
            method: 'POST',
            headers: { 'content-type': file.type || 'application/octet-stream' },
            body: file,
          });
          predictions.set(answer.image, answer.prediction);
          ctx.go(routes.build('image', [answer.image]));
        } catch (error) {
          say.textContent = error.message;
        }
      },
    });
    return h(
      'span.upload',
      {},
      h('button', { type: 'button', onclick: () => input.click() }, 'Try your own image'),
      input,
      say,
    );
  }

  Object.assign(window.convscope, { live: { state, start, post, follow, image, form, control, labels, values, remember, uploadButton, resultsOf, predictionOf } });
}

'use strict';
/** Several methods and two targets side by side: asked of the server, coloured here, read pixel by pixel. */
{
  const {
    dom,
    dom: { h },
    format,
    live,
    maps: lib,
  } = window.convscope;
  const USUAL = ['gradient', 'integrated-gradients', 'grad-cam', 'lrp'];
  const asked = new Map(); // image -> what was chosen and what came, kept while the page is drawn anew

  function stateOf(name) {
    if (!asked.has(name)) {
      const known = live.state.methods.map((m) => m.name);
      const methods = new Set(USUAL.filter((m) => known.includes(m)));
      asked.set(name, { methods, targets: ['', ''], layer: '', maps: [], shared: false, over: null, at: null });
    }
    return asked.get(name);
  }

  /** @param ctx the page @param {string} name of the image @param content its page: file, width, height */
  function section(ctx, name, content) {
    if (!live.state.may || !content) return null;
    const state = stateOf(name);
    state.over ??= content.width >= 48;
    const sheet = h('div', { dataset: { testid: 'sheet' } });
    const form = ask(ctx, name, state, () => show(sheet, state, content, form));
    show(sheet, state, content, form);
    return dom.section('Compare methods and classes', null, form, sheet);
  }

  function ask(ctx, name, state, changed) {
    const status = h('div.job', { 'role': 'status', 'aria-live': 'polite', 'dataset': { testid: 'compare-job' } });
    const boxes = live.state.methods.map((m) => {
      const box = h('input', {
        type: 'checkbox',
        value: m.name,
        checked: state.methods.has(m.name),
        dataset: { testid: `pick-${m.name}` },
        onchange: () => (box.checked ? state.methods.add(m.name) : state.methods.delete(m.name)),
      });
      return h('label.pick', { title: m.question, dataset: { method: m.name } }, box, h('span', {}, m.name));
    });
    const set = (names) => {
      state.methods = new Set(names);
      for (const label of boxes) label.querySelector('input').checked = state.methods.has(label.dataset.method);
    };
    const every = live.state.methods.map((m) => m.name);
    const target = (n, text, placeholder) => {
      const input = h('input', {
        list: 'classes',
        value: state.targets[n],
        placeholder,
        dataset: { testid: `compare-target-${n}` },
        oninput: () => (state.targets[n] = input.value.trim()),
      });
      return h('label.field', {}, h('span', {}, text), input);
    };
    const layers = ctx.network.layers.filter((l) => (l.output_shape ?? []).length === 4).map((l) => l.address);
    const layer = dom.select(
      'Layer',
      [['', 'each method’s own'], ...layers.map((a) => [a, a])],
      state.layer,
      (v) => (state.layer = v),
      'compare-layer',
    );
    const button = h('button.primary', { type: 'submit', dataset: { testid: 'compare' } }, 'Draw the maps');
    const submit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        if (!state.methods.size) throw new Error('Choose at least one method.');
        const { job } = await live.post('api/compare', {
          image: name.startsWith('upload-') ? name : Number(name),
          methods: state.methods.size === every.length ? [] : every.filter((m) => state.methods.has(m)),
          targets: [...new Set(state.targets.filter(Boolean))],
          parameters: state.layer ? { layer: state.layer } : {},
        });
        state.maps = [];
        await live.follow(job, status, async (found) => {
          for (const map of found.slice(state.maps.length)) state.maps.push(await withValues(map));
          changed();
        });
      } catch (error) {
        status.replaceChildren(h('p.error', {}, error.message));
      }
      button.disabled = false;
    };
    return h(
      'form.ask.compare',
      { onsubmit: submit, dataset: { testid: 'compare-form' } },
      h(
        'fieldset.picks',
        {},
        h('legend', {}, 'Methods'),
        h('div.pick-list', {}, boxes),
        h(
          'div.controls',
          {},
          h('button.small', { type: 'button', onclick: () => set(every), dataset: { testid: 'pick-all' } }, 'all'),
          h('button.small', { type: 'button', onclick: () => set([]) }, 'none'),
        ),
      ),
      target(0, 'Class or unit', 'its own first answer'),
      target(1, 'beside', 'none'),
      layer,
      button,
      h('p.quiet', {}, 'With all methods chosen, the slow ones take fewer samples; their remarks say so.'),
      status,
    );
  }

  /** A map with its numbers. */
  async function withValues(map) {
    if (!map.values) return map;
    const response = await fetch(map.values);
    if (!response.ok) throw new Error('The numbers of a map are not kept any more: ask for it again.');
    return { ...map, numbers: new Float32Array(await response.arrayBuffer()) };
  }

  /** Maps by method; of two targets the difference too. */
  function grouped(found) {
    const methods = new Map();
    for (const map of found) methods.set(map.method, [...(methods.get(map.method) ?? []), map]);
    return [...methods.values()].map((own) => {
      if (own.length !== 2 || !own.every((m) => m.applies)) return own;
      const numbers = lib.difference(own[0].numbers, own[1].numbers);
      const apart = {
        ...own[0],
        target: 'difference of the two',
        score: own[0].score - own[1].score,
        numbers,
        limit: lib.limit(numbers),
        promise: null,
        notes: [],
      };
      return [...own, apart];
    });
  }

  function show(sheet, state, content, form) {
    for (const label of form.querySelectorAll('.pick')) {
      const map = state.maps.find((m) => m.method === label.dataset.method);
      label.classList.toggle('absent', map?.applies === false);
      if (map?.applies === false) label.title = `does not apply: ${map.promise.why}`;
    }
    if (!state.maps.length) return sheet.replaceChildren();
    const groups = grouped(state.maps);
    const drawn = groups.flat().filter((m) => m.applies);
    const ends = lib.ends(drawn, state.shared);
    const read = h('p.readout', { role: 'status', dataset: { testid: 'readout' } });
    const again = () => show(sheet, state, content, form);
    const tiles = new Map(drawn.map((m, i) => [m, tile(m, ends[i], state, content, (x, y) => point(x, y))]));
    function point(x, y) {
      state.at = { x, y };
      for (const [, t] of tiles) t.mark(x, y);
      read.textContent = `Pixel at column ${x}, row ${y}. Arrow keys move it; each map says its value there, and its share of Σ|map|.`;
    }
    read.textContent = 'Click a pixel, or move with the arrow keys on a map: every map says its value there.';
    sheet.replaceChildren(
      h(
        'div.toolbar',
        {},
        dom.choice(
          'Scale',
          [
            ['each', 'Own scales'],
            ['shared', 'One scale a unit'],
          ],
          state.shared ? 'shared' : 'each',
          (v) => {
            state.shared = v === 'shared';
            again();
          },
          'scale',
        ),
        dom.choice(
          'Draw maps',
          [
            ['over', 'Over the image'],
            ['plain', 'Map alone'],
          ],
          state.over ? 'over' : 'plain',
          (v) => {
            state.over = v === 'over';
            again();
          },
          'compare-draw',
        ),
      ),
      read,
      ...groups.map((own) => row(own, tiles)),
    );
    if (state.at) point(state.at.x, state.at.y);
  }

  function row(own, tiles) {
    const [first] = own;
    const facts = [first.seconds === null ? null : format.duration(first.seconds), first.settings].filter(Boolean).join(' · ');
    return h(
      'section.map-row',
      { dataset: { method: first.method, testid: `row-${first.method}` } },
      h('h3', {}, first.method),
      own.every((m) => m.applies)
        ? h(
            'div.map-tiles',
            {},
            own.map((m) => tiles.get(m).element),
          )
        : h('p.absent', {}, `Does not apply: ${first.promise.why}`),
      h('details', {}, h('summary', {}, 'How it was made'), h('p.quiet', {}, facts), dom.notes(first.notes)),
    );
  }

  function tile(map, end, state, content, point) {
    const canvas = h('canvas', {
      'width': map.width,
      'height': map.height,
      'tabindex': 0,
      'role': 'img',
      'aria-label': `${map.method}, ${map.target}. Arrow keys move the pixel that is read.`,
      'dataset': { testid: 'map-canvas' },
    });
    if (map.width < 115) canvas.classList.add('pixels');
    colour(canvas, map, end, state.over ? content.file : null);
    const cross = h('i.cross', { 'aria-hidden': 'true', 'hidden': true });
    const value = h('output.value', { dataset: { testid: 'map-value' } });
    canvas.addEventListener('pointerdown', (event) => {
      const box = canvas.getBoundingClientRect();
      const place = (v, n) => Math.min(Math.max(Math.floor(v * n), 0), n - 1);
      point(place((event.clientX - box.left) / box.width, map.width), place((event.clientY - box.top) / box.height, map.height));
    });
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation(); // else the page would go on to the next image
      const { x, y } = state.at ?? { x: Math.floor(map.width / 2), y: Math.floor(map.height / 2) };
      const far = event.shiftKey ? 8 : 1;
      const within = (v, n) => Math.min(Math.max(v, 0), n - 1);
      point(within(x + step[0] * far, map.width), within(y + step[1] * far, map.height));
    });
    const mark = (x, y) => {
      const found = lib.pixel(map.numbers, map.width, x, y);
      value.dataset.value = found.value;
      value.textContent = `${format.number(found.value)} ${map.unit}, ${format.number(100 * found.share, 2)} % of Σ|map|`;
      cross.hidden = false;
      cross.style.left = `${(100 * (x + 0.5)) / map.width}%`;
      cross.style.top = `${(100 * (y + 0.5)) / map.height}%`;
    };
    const element = h(
      'figure.map-tile',
      {},
      h('div.map-frame', {}, canvas, cross),
      h(
        'figcaption',
        {},
        h('b', {}, map.target),
        h('span', {}, `${map.promise ? 'score' : 'scores apart by'} ${format.number(map.score)}`),
        h(
          'span.diverging',
          { title: `${map.unit}; zero in the middle` },
          h('span', {}, `−${format.number(end)}`),
          h('i', { 'aria-hidden': 'true' }),
          h('span', {}, `+${format.number(end)}`),
        ),
        h('span.quiet', {}, map.unit),
        promise(map.promise),
        value,
      ),
    );
    return { element, mark };
  }

  function promise(told) {
    if (!told) return null;
    const bad = told.state === 'fails' || told.state === 'uncertain';
    const word = { kept: '✓ promise kept', fails: '✗ promise fails', uncertain: '~ uncertain' }[told.state] ?? told.state;
    return h(`span.promise${bad ? '.bad' : ''}`, {}, told.why ? `${word}: ${told.why}` : word);
  }

  /** The map's colours, over the image once that is there. */
  function colour(canvas, map, end, file) {
    const context = canvas.getContext('2d');
    const put = (under) =>
      context.putImageData(new ImageData(lib.paint(map.numbers, end, under), map.width, map.height), 0, 0);
    put(null);
    if (!file) return;
    const image = new Image();
    image.onload = () => {
      context.drawImage(image, 0, 0, map.width, map.height);
      put(context.getImageData(0, 0, map.width, map.height).data);
    };
    image.src = file;
  }

  Object.assign(window.convscope, { compare: section });
}

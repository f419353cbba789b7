'use strict';
/** The numbers of the mechanics page: maps above, the products below, and always the check: ours beside autograd's. */
{
  const {
    dom,
    dom: { h },
    format,
    live,
    cells: lib,
    cellMap,
    cellGrid,
    changes,
  } = window.convscope;
  const LARGEST = 12; // terms of a long sum that are listed
  const PACE = [600, 1200]; // milliseconds a step; the second where less motion is asked for

  /** Play, pause, step, scrub along the numbers of a map. `show(position, playing)` is told where we are. */
  function player(ctx, map, start, show) {
    let at = start;
    let timer = null;
    let noted = 0;
    const calm = window.matchMedia('(prefers-reduced-motion: reduce)').matches;
    const last = lib.count(map) - 1;
    const slider = /** @type {HTMLInputElement} */ (h('input', { 'type': 'range', 'id': 'scrub', 'min': 0, 'max': last, 'value': 0, 'aria-label': 'Which number', 'dataset': { testid: 'scrub' }, 'oninput': () => { stop(); go(lib.place(map, Number(slider.value))); } }));
    const play = h('button.primary', { type: 'button', id: 'play', title: 'Play or pause (space)', dataset: { testid: 'play' }, onclick: () => toggle() }, 'Play');
    const step = (by, text, label, id) => h('button', { 'type': 'button', id, 'aria-label': label, 'dataset': { testid: id }, 'onclick': () => { stop(); along(by); } }, text);
    const where = h('span.where', { dataset: { testid: 'where' } });

    function go(position) {
      at = position;
      slider.value = String(lib.flat(map, at));
      slider.setAttribute('aria-valuetext', at.join(', '));
      where.textContent = `[${at.join(', ')}] · ${format.count(lib.flat(map, at) + 1)} of ${format.count(last + 1)}`;
      show(at, timer !== null);
      note();
    }
    /** The address follows, but not at every step: browsers allow only so many changes of it. */
    function note() {
      const now = Date.now();
      if (timer !== null && now - noted < 3000) return;
      noted = now;
      if (at !== start) ctx.note({ at: at.join() });
    }
    function along(by) {
      const n = lib.flat(map, at) + by;
      go(lib.place(map, n < 0 ? last : n > last ? 0 : n));
    }
    function stop() {
      if (timer === null) return;
      clearInterval(timer);
      timer = null;
      play.textContent = 'Play';
    }
    function toggle() {
      if (timer !== null) {
        stop();
        go(at);
        return;
      }
      timer = setInterval(() => along(1), PACE[calm ? 1 : 0]);
      play.textContent = 'Pause';
      along(1);
    }
    return {
      go: (position) => { stop(); go(position); },
      move: (down, right) => { stop(); go(lib.moved(map, at, down, right)); },
      stop,
      toggle,
      controls: [play, step(-1, '‹', 'One number back', 'step-back'), step(1, '›', 'One number on', 'step-on'), slider, where],
    };
  }

  /** What is drawn for each position. `ask(direction, position)` gets the lines of one number from the server. */
  function create(ctx, page, direction, ask) {
    const check = h('p.check', { dataset: { testid: 'check' } });
    const maps = h('div.stage-maps');
    const work = h('div.stage-work');
    const lines = h('div', { dataset: { testid: 'lines' } });
    const more = /** @type {HTMLDetailsElement} */ (h('details.more', { ontoggle: () => { if (more.open) written(at); } }, h('summary', {}, 'Every line, as “convscope steps” prints it'), lines));
    const own = page.kind === 'lines';
    let pick = () => {};
    let at = [0];
    let timer = null;
    let turn = 0;

    function show(position, playing) {
      at = position;
      check.setAttribute('aria-live', playing ? 'off' : 'polite');
      const found = lib.working(page, direction, at);
      maps.replaceChildren(...pictures(ctx, page, direction, found, at, (to) => pick(to)));
      if (found) {
        work.replaceChildren(...products(page, direction, found, at));
        say(found.value, found.check);
      } else {
        work.replaceChildren();
        say(null, lib.value(lib.target(page, direction), at));
      }
      if (live.state.may && (own || !found || more.open)) {
        clearTimeout(timer);
        timer = setTimeout(() => written(at), playing ? 0 : 60);
      }
    }

    function say(value, autograd) {
      const gap = value === null ? null : Math.abs(value - autograd);
      check.dataset.difference = gap === null ? '' : String(gap);
      check.replaceChildren(
        h('span', {}, 'ours ', h('b', {}, format.number(value, 7))),
        h('span', {}, 'autograd ', h('b', {}, format.number(autograd, 7))),
        h('span', {}, 'difference ', h('b', {}, gap === null ? '…' : gap === 0 ? '0' : format.number(gap, 2))),
      );
    }

    /** The lines of one number, unless a later one was asked for in the meantime. */
    async function written(position) {
      const mine = (turn += 1);
      try {
        const { steps } = await ask(direction, position);
        if (mine !== turn) return;
        lines.replaceChildren(...linesOf(steps));
        if (own || !lib.working(page, direction, position)) say(steps.value, steps.check);
      } catch (error) {
        if (mine === turn) lines.replaceChildren(h('p.error', {}, error.message));
      }
    }

    const leave = () => {
      clearTimeout(timer);
      turn += 1;
    };
    if (own) more.open = true;
    const onPick = (action) => { pick = action; };
    const bar = h('div.check-bar', {}, check);
    bar.style.top = `${document.getElementById('header').offsetHeight}px`; // the header stays in sight as well
    return { element: h('div.stage', {}, bar, maps, work, live.state.may ? more : null), show, leave, onPick };
  }

  /** The maps with what is in play: x, and y or δ beside it; the one whose number is worked out moves on a click. */
  function pictures(ctx, page, direction, found, at, pick) {
    const marks = found?.marks ?? {};
    const dense = page.kind === 'dense';
    const channel = (name, k) => (dense || k === null || k === undefined ? name : `${name}, channel ${k}`);
    const input = page.kind === 'conv' ? page.first + page.inner : (page.inner ?? page.channel);
    const [aim, source] = { forward: ['y', 'x'], input: ['dx', 'delta'], weights: ['dw', 'x'] }[direction];
    const titles = { x: channel('Input x', input), y: channel('Output y', page.channel), delta: channel('δ = ∂L/∂y', page.channel), dx: channel('∂L/∂x', input), dw: '∂L/∂weight' };
    const isImage = page.reads[0] === 'input' && page.maps.x && page.maps.x.shape.length === 2;
    const draw = (name, extra = {}) =>
      page.maps[name] ? cellMap(page.maps[name], { title: titles[name], id: `map-${name}`, marks: marks[name] ?? [], ...extra }) : null;
    const change = isImage && live.state.may ? (to) => changes.pick({ pixel: [input, ...to] }, lib.value(page.maps.x, to)) : null;
    const sources = source === 'x' ? [draw('x', { margins: lib.margins(page), pick: change })] : [draw(source)];
    if (direction === 'weights') sources.push(draw('delta'));
    const target = direction === 'forward' && page.maps.before ? output(ctx, page, at, pick) : draw(aim, { at, marks: [], pick });
    return [...sources, target].filter(Boolean);
  }

  /** The output after a change: as it is now, as it was, or what moved. */
  function output(ctx, page, at, pick) {
    const { y, before } = page.maps;
    const which = ctx.route.query.out ?? 'moved';
    const shown = { now: y, before, moved: { shape: y.shape, at: y.at.map((v, n) => v - before.at[n]) } }[which] ?? y;
    const words = { now: 'now', before: 'before the change', moved: 'now − before' };
    return h(
      'div',
      {},
      cellMap(shown, { title: `Output y, channel ${page.channel ?? 0}: ${words[which] ?? ''}`, id: 'map-y', at, pick }),
      dom.choice('Output', [['moved', 'What moved'], ['now', 'Now'], ['before', 'Before']], which, (v) => ctx.set({ out: v === 'moved' ? null : v }), 'output'),
    );
  }

  function products(page, direction, found, at) {
    const sum = h(
      'ol.parts',
      {},
      found.parts.map(([text, part]) => h('li', {}, h('span', {}, text), h('b', {}, format.number(part, 6)))),
      h('li.total', {}, h('span', {}, `${{ forward: 'y', input: '∂L/∂x', weights: '∂L/∂w' }[direction]}[${at.join(', ')}]`), h('b', { dataset: { testid: 'value' } }, format.number(found.value, 6))),
    );
    if (page.kind === 'dense') return [terms(page, direction, found, at), sum];
    const { cells, shape, names } = found;
    if (!cells.length) return [sum];
    const outside = (n) => !cells[n].inside;
    const marked = (n) => Boolean(cells[n].winner);
    const weight = page.kind === 'conv' && direction !== 'weights' && live.state.may
      ? (n) => changes.pick({ layer: page.layer, weight: [page.channel, page.inner, ...cells[n].tap] }, cells[n].right)
      : null;
    const [left, right] = ['left', 'right'].map((side) => cells.map((cell) => cell[side]));
    const parts = [cellGrid(left, shape, { title: names[0], id: 'grid-left', outside: direction === 'weights' ? () => false : outside, marked })];
    if (names.length > 1) {
      const symbol = (text) => h('span.symbol', { 'aria-hidden': 'true' }, text);
      parts.push(symbol('×'), cellGrid(right, shape, { title: names[1], id: 'grid-right', pick: weight, outside: direction === 'weights' ? outside : () => false }));
      parts.push(symbol('='), cellGrid(cells.map((c) => c.product), shape, { title: names[2], id: 'grid-products', outside, marked }));
    }
    return [h('div', {}, h('div.equation', {}, parts), h('p.quiet.hint', {}, hint(page, direction))), sum];
  }

  /** What is easily misread. */
  function hint(page, direction) {
    if (page.kind === 'pool') return direction === 'forward' && !page.mean ? 'Framed: the winner. All of its δ goes back to it.' : '';
    return {
      forward: 'Hatched: padding, which counts as 0.',
      input: 'Each δ stands at the weight that met this input, so they lie turned by 180° against the map. Hatched: no window has the input under this weight.',
      weights: 'One weight is used at every position, so its gradient is a sum over all of them. Hatched: the weight lay over padding.',
    }[direction];
  }

  /** The largest products of a long sum. */
  function terms(page, direction, found, at) {
    const order = found.cells.map((_, n) => n).sort((a, b) => Math.abs(found.cells[b].product) - Math.abs(found.cells[a].product));
    const rest = order.slice(LARGEST).reduce((sum, n) => sum + found.cells[n].product, 0);
    const most = Math.abs(found.cells[order[0]]?.product) || 1;
    const index = (n) => ({ forward: [at[0], n], input: [n, at[0]] })[direction] ?? null;
    const weight = (n) =>
      index(n) && live.state.may
        ? h('button.small', { type: 'button', title: 'change it', onclick: () => changes.pick({ layer: page.layer, weight: index(n) }, found.cells[n].right) }, format.number(found.cells[n].right))
        : format.number(found.cells[n].right);
    return h(
      'div.table-scroll',
      {},
      h(
        'table.terms',
        { dataset: { testid: 'terms' } },
        h('thead', {}, h('tr', {}, ['', ...found.names, ''].map((text) => h('th', { scope: 'col' }, text)))),
        h(
          'tbody',
          {},
          order.slice(0, LARGEST).map((n) => {
            const { left, product, from } = found.cells[n];
            const bar = h(`span.bar${product < 0 ? '.negative' : ''}`, { style: { width: `${(100 * Math.abs(product)) / most}%` } });
            return h('tr', {}, h('th', { scope: 'row' }, String(from[0])), h('td', {}, format.number(left)), h('td', {}, weight(n)), h('td', {}, format.number(product)), h('td.long', {}, h('span.track', {}, bar)));
          }),
          order.length > LARGEST
            ? h('tr', {}, h('th', { scope: 'row' }, `${format.count(order.length - LARGEST)} more`), h('td'), h('td'), h('td', {}, format.number(rest)), h('td'))
            : null,
        ),
      ),
    );
  }

  function linesOf(steps) {
    return [
      h('p', {}, h('b', {}, steps.title)),
      h('p.formula', {}, steps.formula),
      h('ol.lines', {}, steps.lines.map((line) => h('li', {}, line.text))),
      dom.notes(steps.notes),
    ].filter(Boolean);
  }

  Object.assign(window.convscope, { stage: { create, player } });
}

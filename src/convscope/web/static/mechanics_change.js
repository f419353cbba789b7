'use strict';
/** The part of the mechanics page that changes a pixel or a weight, and shows how far everything behind it moved. */
{
  const {
    dom,
    dom: { h },
    format,
    chart,
    live,
    cells: lib,
    cellMap,
  } = window.convscope;

  /** What is being changed: {pixel: [c, y, x]} or {layer, weight: [k, c, i, j]}, and its number now. */
  let picked = null;

  const say = (change) =>
    change.pixel
      ? `pixel ${change.pixel.slice(1).join(',')} of channel ${change.pixel[0]}`
      : `weight [${change.weight.join(', ')}] of ${change.layer}`;

  /** Choose a number; its field gets the focus. */
  function pick(change, value) {
    picked = { ...change, value };
    const form = document.getElementById('change-form');
    if (!form) return;
    form.replaceChildren(...fields());
    /** @type {HTMLInputElement} */ (document.getElementById('change-value')).select();
    form.scrollIntoView({ block: 'nearest' });
  }

  function fields() {
    if (!picked) return [h('p.quiet', {}, 'Choose a pixel in the picture, or a weight in the kernel above.')];
    return [
      h(
        'label.field',
        {},
        h('span', {}, say(picked)),
        h('input', {
          id: 'change-value',
          type: 'number',
          step: 'any',
          min: -1e6,
          max: 1e6,
          required: true,
          value: String(Number(picked.value.toPrecision(6))),
          dataset: { testid: 'change-value' },
        }),
      ),
      h('button.primary', { type: 'submit', dataset: { testid: 'change' } }, 'Change it'),
    ];
  }

  function section(ctx, page) {
    const list = lib.changes(ctx.route.query.change);
    // What was looked at stays in sight: with other numbers, another filter might be the strongest.
    const put = (changed) => ctx.set({ change: lib.written(changed) || null, k: page.channel, c: page.inners == null ? null : page.inner });
    if (!live.state.may) {
      return dom.section(
        'Change a number',
        null,
        h('p.quiet', { dataset: { testid: 'change-offline' } }, 'To change a pixel or a weight and see what moves, the network must run: open this folder with “convscope serve”.'),
      );
    }
    const submit = (event) => {
      event.preventDefault();
      const value = Number(/** @type {HTMLInputElement} */ (document.getElementById('change-value')).value);
      if (!picked || !Number.isFinite(value)) return;
      const { value: _, ...what } = picked;
      put(lib.withChange(list, { ...what, value }));
    };
    return dom.section(
      'Change a number',
      page.planes > 1
        ? dom.select('Channel of the image', Array.from({ length: page.planes }, (_, c) => [String(c), String(c)]), String(page.plane), (v) => ctx.set({ plane: v === '0' ? null : v }), 'plane')
        : null,
      h(
        'div.change-layout',
        {},
        cellMap(page.maps.plane, {
          title: `The image as the network reads it, channel ${page.plane}`,
          id: 'plane-map',
          room: 260,
          pick: (at) => pick({ pixel: [page.plane, ...at] }, lib.value(page.maps.plane, at)),
          marks: list.filter((c) => c.pixel?.[0] === page.plane).map((c) => c.pixel.slice(1)),
        }),
        h('div', {}, h('form.ask', { id: 'change-form', onsubmit: submit }, fields()), made(list, put), page.moved ? consequences(ctx, page) : null),
      ),
    );
  }

  /** The changes in effect, each with a way back. */
  function made(list, put) {
    if (!list.length) return null;
    return h(
      'div',
      {},
      h(
        'ul.changes',
        { dataset: { testid: 'changes' } },
        list.map((change) =>
          h(
            'li',
            {},
            h('span', {}, `${say(change)} is now ${format.number(change.value, 6)}`),
            h('button.small', { 'type': 'button', 'aria-label': `undo ${say(change)}`, 'onclick': () => put(list.filter((c) => c !== change)) }, 'undo'),
          ),
        ),
      ),
      list.length > 1 ? h('button.small', { type: 'button', onclick: () => put([]) }, 'Undo all') : null,
    );
  }

  function consequences(ctx, page) {
    const { moved } = page;
    const bars = (answers) =>
      chart.bars(answers.map((a) => ({ name: a.name, value: a.probability, text: format.percent(a.probability) })), 1, 'answers');
    return h(
      'div',
      { dataset: { testid: 'moved', rows: moved.rows.length } },
      h('div.before-after', {}, h('div', {}, h('h3', {}, 'Answer before'), bars(moved.before)), h('div', {}, h('h3', {}, 'Answer now'), bars(page.answers))),
      h('p.quiet', {}, `Loss ${format.number(moved.loss[0], 4)} before, ${format.number(moved.loss[1], 4)} now. `, h('span', {}, page.loss_text), '.'),
      h(
        'div.table-scroll',
        {},
        h(
          'table',
          {},
          h('thead', {}, h('tr', {}, ['Layer', 'Largest |Δ|', 'Numbers that moved', 'of'].map((text) => h('th', { scope: 'col' }, text)))),
          h(
            'tbody',
            {},
            moved.rows.map((row) =>
              h(
                'tr',
                {},
                h('th.address', { scope: 'row' }, h('a', { href: window.convscope.mechanicsLink(row.layer, ctx.route.query) }, row.layer)),
                h('td', {}, format.number(row.largest)),
                h('td', {}, format.percent(row.share)),
                h('td', {}, format.count(row.numbers)),
              ),
            ),
          ),
        ),
      ),
      moved.rows.length ? null : h('p', {}, 'Nothing moved: no layer hears of this number.'),
      moved.still ? h('p.quiet', {}, `${format.plural(moved.still, 'layer')} did not move.`) : null,
    );
  }

  const forget = () => {
    picked = null;
  };

  Object.assign(window.convscope, { changes: { section, pick, forget } });
}

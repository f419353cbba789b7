'use strict';
/** A result of any method, drawn from its kind alone: a table that can be sorted, or a picture's tiles with their numbers. */
{
  const {
    dom: { h, notes },
    format,
    sprite,
  } = window.convscope;
  const SHOWN = { rows: 12, tiles: 32, large: 6 };

  /** @param {{kind: string, title: string, units: object, notes: string[], settings: string}} content */
  const result = (content) =>
    h(
      'div.result',
      { dataset: { testid: `result-${content.method}` } },
      content.kind === 'table' ? table(content) : picture(content),
      notes(content.notes),
      content.settings ? h('p.settings', {}, content.settings) : null,
    );

  function table(content) {
    const names = Object.keys(content.columns);
    const length = content.columns[names[0]]?.length ?? 0;
    const order = Array.from({ length }, (_, i) => i);
    const body = h('tbody');
    let shown = SHOWN.rows;
    const more = h('button.small', { type: 'button', onclick: () => fill((shown = length)) }, `all ${format.count(length)} rows`);
    function fill() {
      body.replaceChildren(...order.slice(0, shown).map((at) => h('tr', {}, names.map((name) => cell(content.columns[name][at])))));
      more.hidden = shown >= length;
    }
    const head = names.map((name) => {
      const th = h(
        'th',
        { scope: 'col', title: content.units[name] || null, class: isText(content.columns[name]) ? 'text' : null },
        h('button.sort', { type: 'button', onclick: () => sort(name, th) }, name.replaceAll('_', ' ')),
      );
      return th;
    });
    function sort(name, th) {
      const down = th.getAttribute('aria-sort') !== 'descending';
      const column = content.columns[name];
      order.sort((a, b) => compare(column[a], column[b]) * (down ? -1 : 1) || a - b);
      for (const other of head) other.removeAttribute('aria-sort');
      th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      fill();
    }
    fill();
    const cut = [
      content.rows > length ? `The first ${format.count(length)} of ${format.count(content.rows)} rows; ${content.file} in the atlas holds all.` : '',
      content.left?.length ? `Not shown: ${content.left.join(', ')}.` : '',
    ].filter(Boolean);
    return h(
      'div',
      {},
      h('div.table-scroll', {}, h('table.plain', {}, h('thead', {}, h('tr', {}, head)), body)),
      h('p.quiet', {}, more, ` ${cut.join(' ')}`),
    );
  }

  const isText = (column) => column.some((value) => typeof value === 'string');

  const cell = (value) =>
    typeof value === 'string'
      ? h('td.text.wide', {}, value)
      : h('td', {}, typeof value === 'boolean' ? (value ? 'yes' : 'no') : format.number(value));

  const compare = (a, b) =>
    a === b ? 0 : a === null ? -1 : b === null ? 1 : typeof a === 'string' ? a.localeCompare(b) : Number(a) - Number(b);

  const told = (value) => (typeof value === 'boolean' ? (value ? 'yes' : 'no') : typeof value === 'string' ? value : format.number(value));

  function picture(content) {
    const names = Object.keys(content.values);
    if (content.across && content.captions.every((c) => /^\d+,\d+$/.test(c))) return mosaic(content, names); // 'row,column'
    const count = content.captions.length;
    const few = count <= SHOWN.large; // large, each with all its numbers; of many, the numbers come by pointing at a tile
    const numbers = (at) => names.map((n) => `${n.replaceAll('_', ' ')}: ${told(content.values[n][at])}`);
    const tile = (at) =>
      h(
        'li',
        { title: [content.captions[at], ...numbers(at)].join('\n') },
        sprite.tile(content.sheet, at, few ? 200 : 72, content.captions[at]),
        h('span.caption', {}, few ? content.captions[at] : content.captions[at].replace(/^.*\//, '')),
        few ? numbers(at).map((text) => h('span.caption', {}, text)) : null,
      );
    const list = h(`ol.tiles-plain${few ? '.few' : ''}`);
    const fill = (many) => list.replaceChildren(...Array.from({ length: Math.min(many, count) }, (_, at) => tile(at)));
    fill(SHOWN.tiles);
    const more = h(
      'button.small',
      {
        type: 'button',
        onclick: () => {
          fill(count);
          more.remove();
        },
      },
      `all ${format.count(count)}`,
    );
    return h('div', {}, list, h('p.quiet', {}, count > SHOWN.tiles ? more : null, content.sheet.scale === 'rgb' ? null : ` ${content.sheet.scale ?? ''}`));
  }

  /** Tiles whose places mean something: a grid without gaps, empty cells left blank; a cell's numbers on hovering. */
  function mosaic(content, names) {
    const named = content.values.class;
    const side = Math.max(48, Math.floor(720 / content.across)); // px
    const facts = (at) =>
      names
        .map((n) => [n, content.values[n][at]])
        .filter(([, v]) => v !== null && v !== '')
        .map(([n, v]) => `${n}: ${typeof v === 'string' ? v : format.number(v)}`);
    const cell = (at) => {
      const words = [content.captions[at], ...facts(at)].join('\n');
      const drawn = !content.values.cosine || content.values.cosine[at] !== null;
      return h(
        'li',
        { title: words, dataset: { drawn } },
        drawn ? sprite.whole(content.sheet, at, side, `cell ${content.captions[at]}`) : null,
        drawn && named ? h('span', {}, named[at]) : null,
      );
    };
    return h(
      'div.table-scroll',
      {},
      h(
        'ol.mosaic',
        { style: { 'grid-template-columns': `repeat(${content.across}, ${side}px)`, 'grid-auto-rows': `${side}px` } },
        content.captions.map((_, at) => cell(at)),
      ),
      h('p.quiet', {}, 'Neighbours are alike; point at a cell for its numbers. Blank: too few vectors.'),
    );
  }

  Object.assign(window.convscope, { result });
}

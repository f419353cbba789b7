'use strict';
/** Small makers of elements. Text is always text: nothing here reads HTML. */
{
  const { format } = window.convscope;
  const SVG = 'http://www.w3.org/2000/svg';

  /**
   * h('a.button', {href, onclick, dataset: {testid}}, 'text', child, [children], null)
   * @param {string} what tag and classes @returns {HTMLElement}
   */
  function h(what, props = {}, ...children) {
    const [tag, ...classes] = what.split('.');
    return fill(document.createElement(tag || 'div'), classes, props, children);
  }

  /** The same for SVG. @returns {SVGElement} */
  function s(what, props = {}, ...children) {
    const [tag, ...classes] = what.split('.');
    return fill(document.createElementNS(SVG, tag), classes, props, children);
  }

  function fill(element, classes, props, children) {
    if (classes.length) element.classList.add(...classes.filter(Boolean));
    for (const [key, value] of Object.entries(props)) {
      if (value === null || value === undefined || value === false) continue;
      if (key.startsWith('on')) element.addEventListener(key.slice(2), value);
      else if (key === 'dataset') Object.assign(element.dataset, value);
      else if (key === 'style') Object.entries(value).forEach(([name, v]) => v && element.style.setProperty(name, v));
      else element.setAttribute(key, value === true ? '' : value);
    }
    element.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }

  /** Terms and values: [['Parameters', '23,296', 'weights and biases'], …]; a value of null leaves its term out. */
  const facts = (pairs) =>
    h(
      'dl.facts',
      {},
      pairs
        .filter(([, value]) => value !== null && value !== undefined)
        .map(([term, value, meaning]) => h('div', { title: meaning ?? null }, h('dt', {}, term), h('dd', {}, value))),
    );

  const notes = (list) =>
    list?.length
      ? h(
          'ul.notes',
          {},
          list.map((note) => h('li', {}, note)),
        )
      : null;

  const notice = (...children) => h('p.notice', {}, ...children);

  /** A section with a heading and, at its right, controls. */
  const section = (title, controls, ...children) =>
    h(
      'section',
      {},
      h('div.section-head', {}, h('h2', {}, title), controls ? h('div.controls', {}, controls) : null),
      ...children,
    );

  /** A labelled choice. @param {Array<[string, string]>} options value and text */
  function select(label, options, value, onchange, id) {
    const list = h(
      'select',
      { id, dataset: { testid: id }, onchange: (event) => onchange(event.target.value) },
      options.map(([v, text]) => h('option', { value: v, selected: v === value }, text)),
    );
    return h('label.field', {}, h('span', {}, label), list);
  }

  /** Two or more buttons of which one is on. */
  const choice = (label, options, value, onchange, id) =>
    h(
      'div.choice',
      { 'role': 'group', 'aria-label': label },
      options.map(([v, text]) =>
        h(
          'button',
          {
            'type': 'button',
            'id': `${id}-${v}`,
            'dataset': { testid: `${id}-${v}` },
            'aria-pressed': String(v === value),
            'onclick': () => onchange(v),
          },
          text,
        ),
      ),
    );

  /** '‹ 1 of 21 ›' with links. @param {(page: number) => string} href */
  function pager(at, pages, href, what) {
    if (pages <= 1) return null;
    const step = (to, text, label, id) =>
      to < 1 || to > pages
        ? h('span.step.off', { 'aria-hidden': 'true' }, text)
        : h('a.step', { 'href': href(to), 'aria-label': label, id, 'dataset': { testid: id } }, text);
    return h(
      'nav.pager',
      { 'aria-label': `Pages of ${what}` },
      step(at - 1, '‹', 'Previous page', 'page-previous'),
      h('span', {}, `${format.count(at)} of ${format.count(pages)}`),
      step(at + 1, '›', 'Next page', 'page-next'),
    );
  }

  /** A file made here, saved by the browser. */
  function download(name, text, type) {
    const url = URL.createObjectURL(new Blob([text], { type }));
    const link = h('a', { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  /** Code with a button that copies it. */
  function code(text, label) {
    const button = h(
      'button.small',
      {
        'type': 'button',
        'aria-label': `Copy ${label}`,
        'onclick': async () => {
          const done = await copy(text);
          button.textContent = done ? 'copied' : 'select and copy';
          setTimeout(() => {
            button.textContent = 'copy';
          }, 1500);
        },
      },
      'copy',
    );
    return h('div.code', {}, h('pre', { 'tabindex': '0', 'aria-label': label }, text), button);
  }

  /** The clipboard may be closed to a page from disk; the caller says so. @returns {Promise<boolean>} */
  const copy = (text) =>
    navigator.clipboard
      ? navigator.clipboard.writeText(text).then(
          () => true,
          () => false,
        )
      : Promise.resolve(false);

  Object.assign(window.convscope, { dom: { h, s, facts, notes, notice, section, select, choice, pager, download, code } });
}

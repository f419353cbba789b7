'use strict';
/** The search box in the header: `/` goes there, arrows choose, Enter opens. A combobox as WAI-ARIA describes it. */
{
  const {
    dom: { h },
    find,
    sprite,
    route: routes,
  } = window.convscope;

  function create(context) {
    let found = [],
      at = -1;
    const list = h('ul.found', {
      'id': 'found',
      'role': 'listbox',
      'aria-label': 'Found',
      'hidden': true,
      'dataset': { testid: 'found' },
    });
    const input = h('input', {
      'type': 'search',
      'id': 'search',
      'placeholder': 'Search  /',
      'aria-label': 'Search layers, units, images, classes',
      'role': 'combobox',
      'aria-expanded': 'false',
      'aria-controls': 'found',
      'aria-autocomplete': 'list',
      'autocomplete': 'off',
      'spellcheck': 'false',
      'dataset': { testid: 'search' },
    });

    const close = () => {
      list.hidden = true;
      input.setAttribute('aria-expanded', 'false');
      input.removeAttribute('aria-activedescendant');
    };
    const open = (result) => {
      close();
      input.value = '';
      input.blur();
      location.hash = routes.build(result.page, result.args, result.query);
    };
    const mark = (to) => {
      at = to;
      [...list.children].forEach((item, i) => item.setAttribute('aria-selected', String(i === at)));
      if (found[at]) {
        input.setAttribute('aria-activedescendant', `found-${at}`);
        list.children[at].scrollIntoView({ block: 'nearest' });
      }
    };
    const show = () => {
      const { network, collection } = context();
      found = find.find(input.value, network, collection);
      list.replaceChildren(
        ...(found.length
          ? found.map((result, i) =>
              h(
                'li',
                {
                  role: 'option',
                  id: `found-${i}`,
                  onmousedown: (event) => {
                    event.preventDefault();
                    open(result);
                  },
                },
                result.kind === 'image' ? sprite.thumb(collection, result.index, 26) : null,
                h('span.text', {}, result.text),
                h('span.quiet', {}, `${result.kind}${result.kind === 'layer' ? ` · ${result.detail}` : ''}`),
              ),
            )
          : [h('li.none', { 'role': 'option', 'aria-disabled': 'true' }, 'Nothing of that name')]),
      );
      list.hidden = !input.value.trim();
      input.setAttribute('aria-expanded', String(!list.hidden));
      mark(found.length ? 0 : -1);
    };
    input.addEventListener('input', show);
    input.addEventListener('focus', show);
    input.addEventListener('blur', close);
    input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') {
        input.value = '';
        input.blur();
      } else if (event.key === 'Enter' && found[at]) {
        open(found[at]);
      } else if ((event.key === 'ArrowDown' || event.key === 'ArrowUp') && found.length) {
        mark((at + (event.key === 'ArrowDown' ? 1 : -1) + found.length) % found.length);
      } else {
        return;
      }
      event.preventDefault();
    });
    return h('div.search', { role: 'search' }, input, list);
  }

  Object.assign(window.convscope, { searchBox: create });
}

'use strict';
/** Starts the page: loads the network and the collection, draws the view that the address names, minds the keys. */
{
  const {
    dom: { h },
    data,
    format,
    live,
    route: routes,
    theme,
    pages,
  } = window.convscope;
  const main = document.getElementById('main');
  /** Text, page, and the pages that belong to it. @type {Array<[string, string, string[]]>} */
  const NAV = [
    ['Layers', '', ['', 'layer', 'unit', 'mechanics']],
    ['Images', 'images', ['images', 'image']],
    ['Map', 'map', ['map']],
    ['Depth', 'depth', ['depth']],
    ['Training', 'training', ['training']],
    ['About', 'about', ['about']],
  ];
  let network = null,
    collection = null,
    route = null,
    cleanUp = null,
    drawing = 0,
    prefix = '';

  /** What every page gets: the data, the address, and the ways to another. */
  const context = () => ({
    network,
    collection,
    route,
    layer(address) {
      const found = network.layers.find((l) => l.address === address);
      if (!found) throw new Error(`There is no layer “${address}” in ${network.name}. The search box (/) knows them all.`);
      return found;
    },
    label: (index) =>
      collection.labels[index] >= 0
        ? (collection.classes[collection.labels[index]] ?? `class ${collection.labels[index]}`)
        : null,
    guess(index) {
      const best = collection.predictions?.top[index]?.[0];
      return best === undefined || best === null || !format.known(collection.predictions.probability[index][0])
        ? null
        : {
            k: best,
            name: network.classes[best] ?? `class ${best}`,
            probability: collection.predictions.probability[index][0],
          };
    },
    /** Is the first answer the label? null where there is no label, no answer, or the two speak of different classes. */
    right(index) {
      const label = this.label(index),
        guess = this.guess(index);
      if (label === null || guess === null || !network.classes.includes(label)) return null;
      return guess.name === label;
    },
    go: (hash) => {
      location.hash = hash;
    },
    /** Change keys of the address without a new entry in the history. */
    set(changes) {
      history.replaceState(null, '', routes.change(route, changes));
      draw();
    },
    /** The same, without drawing again: for views that draw themselves, such as the map. */
    note(changes) {
      const hash = routes.change(route, changes);
      history.replaceState(null, '', hash);
      route = routes.parse(hash);
    },
    refresh: () => draw(),
    onLeave: (action) => {
      cleanUp = action;
    },
  });

  async function draw() {
    const before = route;
    route = routes.parse(location.hash);
    if (network.only) route.page = network.only; // a folder with runs and no atlas has one page
    const turn = (drawing += 1);
    const focused = document.activeElement?.id;
    const same = before && before.page === route.page && before.args.join('/') === route.args.join('/');
    const scroll = window.scrollY;
    cleanUp?.();
    cleanUp = null;
    let content;
    const waiting = setTimeout(() => main.setAttribute('aria-busy', 'true'), 150);
    try {
      if (!Object.hasOwn(pages, route.page)) throw new Error(`There is no page “${route.page}”.`);
      content = await pages[route.page](context());
    } catch (error) {
      console.info(error.message);
      content = h(
        'div',
        {},
        h('h1', {}, 'Not found'),
        h('p.notice', { dataset: { testid: 'error' } }, error.message),
        h('p', {}, h('a', { href: '#/' }, 'All layers')),
      );
    }
    clearTimeout(waiting);
    if (turn !== drawing) return; // a later address has overtaken this one
    main.removeAttribute('aria-busy');
    main.replaceChildren(content);
    main.dataset.page = route.page || 'layers';
    document.title = title();
    for (const link of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('#header nav a'))) {
      if (link.dataset.pages.split(' ').includes(route.page || 'layers')) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    if (focused && focused !== 'search') document.getElementById(focused)?.focus({ preventScroll: true });
    window.scrollTo(0, same ? scroll : 0);
    if (before && !same && !document.getElementById(focused)) main.focus({ preventScroll: true });
  }

  function title() {
    const what = {
      layer: route.args[0],
      unit: route.args.join('/'),
      image: `image ${route.args[0]}`,
      mechanics: `mechanics of ${route.args[0]}`,
      images: 'images',
      map: 'map',
      depth: 'through the depth',
      training: 'training',
      about: 'about',
    }[route.page];
    return `${what ? `${what} · ` : ''}${network.name} · convscope`;
  }

  function header() {
    const nav = h(
      'nav',
      { 'aria-label': 'Pages' },
      NAV.filter(([, page]) => !network.only || page === network.only).map(([text, page, covers]) =>
        h(
          'a',
          {
            href: `#/${page}`,
            dataset: {
              testid: `nav-${page || 'layers'}`,
              pages: covers.map((c) => c || 'layers').join(' '),
            },
          },
          text,
        ),
      ),
    );
    const toggle = h(
      'button.icon',
      {
        'type': 'button',
        'id': 'theme',
        'title': 'Light or dark (t)',
        'aria-label': 'Light or dark',
        'dataset': { testid: 'theme' },
        'onclick': theme.toggle,
      },
      '◐',
    );
    const help = h(
      'button.icon',
      {
        'type': 'button',
        'id': 'help',
        'title': 'Keys (?)',
        'aria-label': 'Keys',
        'dataset': { testid: 'help' },
        'onclick': openHelp,
      },
      '?',
    );
    const lamp = live.state.on
      ? h(
          'span.live',
          {
            title: live.state.may
              ? 'convscope serve answers'
              : 'Open the address that convscope serve printed to ask for new pictures',
          },
          live.state.may ? 'live' : 'live, reading only',
        )
      : null;
    document
      .getElementById('header')
      .replaceChildren(
        h(
          'div.bar',
          {},
          h(
            'a.brand',
            { 'href': '#/', 'aria-label': `convscope: ${network.name}` },
            h('img', { src: 'app/icon.svg', alt: '', width: 22, height: 22 }),
            h('b', {}, 'convscope'),
          ),
          nav,
          lamp,
          network.only ? null : window.convscope.searchBox(context),
          h('div.buttons', {}, toggle, help),
        ),
      );
  }

  function openHelp() {
    document.querySelector('dialog')?.remove();
    const dialog = h(
      'dialog',
      {
        'aria-labelledby': 'help-title',
        'dataset': { testid: 'dialog' },
        'onclose': () => dialog.remove(),
        'onclick': (event) => {
          if (event.target === dialog) dialog.close();
        },
      },
      h('h2', { id: 'help-title' }, 'Keys'),
      window.convscope.keyList(),
      h('form', { method: 'dialog' }, h('button.primary', {}, 'Close')),
    );
    document.body.append(dialog);
    dialog.showModal();
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog')) return;
    if (event.target.closest('input, select, textarea')) return;
    const { key } = event;
    const went = prefix === 'g' ? { l: '#/', i: '#/images', m: '#/map', d: '#/depth', t: '#/training', a: '#/about' }[key] : null;
    prefix = key === 'g' ? 'g' : '';
    if (went) location.hash = went;
    else if (key === '/') document.getElementById('search')?.focus();
    else if (key === '?') openHelp();
    else if (key === 't') theme.toggle();
    else if (!pages[route.page]?.keys?.(context(), key)) return;
    event.preventDefault();
  }

  async function start() {
    try {
      [network, collection] = await Promise.all([data.load('network'), data.load('collection')]);
      for (const layer of network.layers) layer.slug ??= routes.slug(layer.address);
      await live.start();
      header();
      theme.onChange(() => draw());
      window.addEventListener('hashchange', () => draw());
      document.addEventListener('keydown', onKey);
      // '#main' is no address of ours: the link only moves the focus.
      document.querySelector('.skip-link').addEventListener('click', (event) => {
        event.preventDefault();
        main.focus();
      });
      await draw();
    } catch (error) {
      main.replaceChildren(
        h('h1', {}, 'The atlas cannot be opened'),
        h('p.notice', { dataset: { testid: 'error' } }, error.message),
      );
    }
    document.documentElement.dataset.ready = format.count(network?.layers.length ?? 0);
  }

  start();
}

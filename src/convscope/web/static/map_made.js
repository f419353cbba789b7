'use strict';
/** Maps of the collection in other layers than the written one: asked of the server, PCA at once, t-SNE when it is done. */
{
  const {
    dom: { h },
    live,
  } = window.convscope;
  const made = new Map(); // layer -> {page, status, changed}, kept for this visit

  /**
   * What there is of a layer's map by now; asked for the first time, it is begun.
   * @returns {{page: ?object, status: HTMLElement}} `changed` is called when there is more
   */
  function of(layer, changed) {
    if (made.has(layer)) {
      made.get(layer).changed = changed;
      return made.get(layer);
    }
    const status = h('div.job', { 'role': 'status', 'aria-live': 'polite', 'dataset': { testid: 'map-job' } });
    const state = { page: null, status, changed };
    made.set(layer, state);
    make(layer, state);
    return state;
  }

  async function make(layer, state) {
    const again = h(
      'button.small',
      {
        type: 'button',
        dataset: { testid: 'map-again' },
        onclick: () => {
          made.delete(layer);
          state.changed();
        },
      },
      'Ask again',
    );
    try {
      const { job } = await live.post('api/map', { layer });
      const done = await live.follow(job, state.status, (pages) => grow(state, pages));
      if (!done) state.status.append(again); // cancelled
    } catch (error) {
      state.status.replaceChildren(h('p.error', { dataset: { testid: 'error' } }, error.message), again);
    }
  }

  function grow(state, pages) {
    const last = pages.at(-1);
    if (!last || last.views.length === state.page?.views.length) return;
    state.page = last;
    state.changed();
  }

  Object.assign(window.convscope, { mapMade: of });
}

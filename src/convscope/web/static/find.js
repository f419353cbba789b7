'use strict';
/** The search box's answers: layers, units, images, classes. Pure: no DOM. */
{
  /** 0 exact, 1 begins with, 2 begins a part of the name, 3 somewhere, null not at all. */
  function match(text, words) {
    const lower = text.toLowerCase();
    if (!words.every((w) => lower.includes(w))) return null;
    const whole = words.join(' ');
    if (lower === whole) return 0;
    if (lower.startsWith(words[0])) return 1;
    return new RegExp(`[^a-z0-9]${words[0].replace(/[^a-z0-9]/g, '\\$&')}`).test(lower) ? 2 : 3;
  }

  /**
   * @param {string} query what was typed @param network data 'network' @param collection data 'collection', may be null
   * @returns {Array<{kind: string, text: string, detail: string, page: string, args: Array, query?: Object}>} best first
   */
  function find(query, network, collection, limit = 12) {
    const typed = query.trim().toLowerCase();
    if (!typed) return [];
    const found = [...units(typed, network), ...among(typed.split(/\s+/), network, collection)];
    return found
      .sort((a, b) => a.rank - b.rank)
      .slice(0, limit)
      .map(({ rank, ...rest }) => rest);
  }

  /** 'conv1/37', 'conv1 37': a unit of every layer whose address ends so. */
  function units(typed, network) {
    const parts = /^(.+?)[/ ](\d+)$/.exec(typed);
    if (!parts) return [];
    const index = Number(parts[2]);
    return network.layers
      .filter((l) => l.page && l.units !== null && index < l.units && match(l.address, [parts[1]]) !== null)
      .map((l) => ({
        rank: match(l.address, [parts[1]]) - 0.5,
        kind: 'unit',
        text: `${l.address}/${index}`,
        detail: l.operator,
        page: 'unit',
        args: [l.address, index],
      }));
  }

  function among(words, network, collection) {
    const found = [];
    const add = (text, extra) => {
      const rank = match(text, words);
      if (rank !== null) found.push({ rank, text, ...extra });
    };
    for (const layer of network.layers) {
      add(layer.address, { kind: 'layer', detail: layer.operator, page: 'layer', args: [layer.address] });
    }
    if (collection) {
      collection.classes.forEach((name, k) =>
        add(name, { kind: 'class', detail: `class ${k}`, page: 'images', args: [], query: { class: k } }),
      );
      collection.ids.forEach((id, i) =>
        add(id, { kind: 'image', detail: `image ${i}`, page: 'image', args: [i], index: i }),
      );
    }
    return found;
  }

  const api = { find, match };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).find = api;
}

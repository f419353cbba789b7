'use strict';
/** Layers folded by module. Pure: no DOM.
 *
 * A group is a run of *consecutive* layers with one module prefix. Runs of a topological order stay in order when they are
 * contracted, so a folded graph never gets a cycle, even where a module is used twice.
 *
 * A node is {key, name, layers, children}: `children` is null for a single layer. Group keys end in '/', a later run of the
 * same module in '/2', '/3', …
 */
{
  /** @param {Array<{address: string}>} layers in order of execution @returns the root */
  function build(layers) {
    const seen = new Map();
    return { key: '/', name: '', layers, children: split(layers, 0, seen) };
  }

  function split(layers, depth, seen) {
    const nodes = [];
    for (let i = 0; i < layers.length;) {
      const path = layers[i].address.split('.');
      let j = i + 1;
      if (path.length > depth + 1) {
        const prefix = path.slice(0, depth + 1).join('.') + '.';
        while (j < layers.length && layers[j].address.startsWith(prefix)) j += 1;
        nodes.push(group(layers.slice(i, j), prefix.slice(0, -1), depth, seen));
      } else {
        nodes.push({
          key: layers[i].address,
          name: nameOf(path.slice(0, depth), path.slice(depth).join('.')),
          layers: [layers[i]],
          children: null,
        });
      }
      i = j;
    }
    return nodes;
  }

  function group(layers, prefix, depth, seen) {
    const path = prefix.split('.');
    const name = nameOf(path.slice(0, -1), path.at(-1));
    const run = (seen.get(prefix) ?? 0) + 1;
    seen.set(prefix, run);
    const children = split(layers, depth + 1, seen);
    if (children.length === 1)
      return { ...children[0], name: children[0].key.replace(/\/.*$/, '').split('.').slice(depth).join('.') }; // a box around one box says nothing
    return { key: `${prefix}/${run > 1 ? run : ''}`, name: run > 1 ? `${name} (${run})` : name, layers, children };
  }

  /** A place in a list, such as '0', says nothing without the list's name: 'features.0'. */
  const nameOf = (above, name) => (/^\d/.test(name) && above.length ? `${above.at(-1)}.${name}` : name);

  /**
   * Which groups to show open, so that at most about `limit` boxes are seen: whole levels, so that equal blocks look equal.
   * @returns {string[]} keys
   */
  function unfold(root, limit = 60) {
    const open = [];
    let level = root.children;
    for (;;) {
      const groups = level.filter((n) => n.children);
      const next = level.flatMap((n) => n.children ?? [n]);
      if (!groups.length || next.length > limit) return open;
      open.push(...groups.map((n) => n.key));
      level = next;
    }
  }

  /** Every group's key, from the outside in. */
  const groups = (node) => (node.children ?? []).flatMap((n) => (n.children ? [n.key, ...groups(n)] : []));

  /** The visible tree: groups that are not open lose their children. */
  function fold(node, open) {
    const children = node.children.map((n) => {
      if (!n.children) return { ...n, folded: false };
      return open.has(n.key) ? fold(n, open) : { ...n, children: null, folded: true };
    });
    return { ...node, children, folded: false };
  }

  /** Boxes without children, in order. */
  const leaves = (node) => (node.children ? node.children.flatMap(leaves) : [node]);

  /**
   * Connections between visible boxes, each once. A box never points at itself.
   * @param visible the folded tree @returns {Array<{from: string, to: string}>}
   */
  function edges(visible) {
    const home = new Map([['input', 'input']]);
    for (const box of leaves(visible)) for (const layer of box.layers) home.set(layer.address, box.key);
    const found = new Map();
    for (const box of leaves(visible)) {
      for (const layer of box.layers) {
        for (const parent of layer.parents) {
          const from = home.get(parent);
          if (from !== undefined && from !== box.key) found.set(`${from}\n${box.key}`, { from, to: box.key });
        }
      }
    }
    return [...found.values()];
  }

  /** A number for a box: the sum over its layers of what is known, the largest, or the mean; null if none is known. */
  function total(layers, read, how = 'sum') {
    const values = layers.map(read).filter((v) => v !== null && v !== undefined);
    if (!values.length) return null;
    if (how === 'max') return Math.max(...values);
    const sum = values.reduce((a, b) => a + b, 0);
    return how === 'mean' ? sum / values.length : sum;
  }

  const api = { build, unfold, groups, fold, leaves, edges, total };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).tree = api;
}

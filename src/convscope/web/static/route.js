'use strict';
/** The address of a view: `#/page/argument/…?key=value`. All that a view shows follows from it. Pure: no DOM. */
{
  // ':' ',' and '@' are harmless in a fragment and make addresses readable.
  const encode = (text) => encodeURIComponent(text).replace(/%(3A|2C|40)/g, (c) => decodeURIComponent(c));

  function decode(text) {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a stray % typed by hand: look for what was written
    }
  }

  /** @param {string} hash @returns {{page: string, args: string[], query: Object<string, string>}} */
  function parse(hash) {
    const [path, search = ''] = hash.replace(/^#?\/?/, '').split(/\?(.*)/s);
    const [page, ...args] = path.split('/').map(decode);
    /** @type {Object<string, string>} */
    const query = {};
    for (const pair of search.split('&')) {
      if (!pair) continue;
      const [key, ...rest] = pair.split('=');
      query[decode(key)] = decode(rest.join('='));
    }
    return { page, args, query };
  }

  /** The fragment of a view; keys whose value is null or '' are left out. */
  function build(page, args = [], query = {}) {
    const path = [page, ...args].map((a) => encode(String(a))).join('/');
    const pairs = Object.entries(query).filter(([, v]) => v !== null && v !== undefined && v !== '');
    const search = pairs.map(([k, v]) => `${encode(k)}=${encode(String(v)).replaceAll('%2F', '/')}`).join('&');
    return `#/${path}${search && `?${search}`}`;
  }

  /** The same view with some keys changed. */
  const change = (route, changes) => build(route.page, route.args, { ...route.query, ...changes });

  /** A layer's file name: ':' is no character for files. */
  const slug = (address) => address.replaceAll(':', '~');

  /** 'features.0/37' -> {address, unit}; without a unit, unit is null. */
  function unitOf(text) {
    const match = /^(.*)\/(\d+)$/.exec(text.trim());
    return match ? { address: match[1], unit: Number(match[2]) } : { address: text.trim(), unit: null };
  }

  const api = { parse, build, change, slug, unitOf };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).route = api;
}

'use strict';
/** Order, pages and CSV of tables. Pure: no DOM. */
{
  const missing = (v) => v === null || v === undefined || Number.isNaN(v);

  /**
   * The order of rows by one column: stable, and what is not known comes last in both directions.
   * @param {Array} values @param {boolean} descending @returns {number[]} row numbers
   */
  function order(values, descending) {
    const sign = descending ? -1 : 1;
    return values
      .map((_, i) => i)
      .sort((a, b) => {
        const [x, y] = [values[a], values[b]];
        if (missing(x) || missing(y)) return Number(missing(x)) - Number(missing(y)) || a - b;
        if (typeof x === 'number' && typeof y === 'number') return sign * (x - y) || a - b;
        return sign * String(x).localeCompare(String(y), 'en', { numeric: true }) || a - b;
      });
  }

  /** One page of rows. A page that does not exist is answered with the nearest. */
  function page(rows, number, size) {
    const pages = Math.max(1, Math.ceil(rows.length / size));
    const at = Math.min(Math.max(1, Math.floor(number) || 1), pages);
    return { at, pages, first: (at - 1) * size, rows: rows.slice((at - 1) * size, at * size) };
  }

  /** One cell as RFC 4180 wants it; text that a spreadsheet would take for a formula is disarmed with an apostrophe. */
  function cell(value) {
    if (missing(value)) return '';
    if (typeof value === 'number') return String(value);
    const text = Array.isArray(value) ? value.join(' ') : String(value);
    const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  /** @param {string[]} header @param {Array<Array>} rows */
  const csv = (header, rows) => [header, ...rows].map((row) => row.map(cell).join(',')).join('\r\n') + '\r\n';

  const LABELS = {
    fires: 'fire rate',
    maximum: 'max',
    minimum: 'min',
    deviation: 'std. deviation',
    preferred: 'preferred class',
  };
  const FIRST = ['fires', 'selectivity', 'norm', 'maximum', 'mean'];

  /**
   * The columns of a layer's units as the page shows them: those that people ask for first come first. Where only the
   * share of zeros is known, the fire rate is one minus it.
   * @returns {{names: string[], columns: Object<string, Array>, meanings: Object<string, string>, label: (name: string) => string}}
   */
  function unitColumns(data) {
    const columns = { ...data.columns },
      meanings = { ...data.meanings };
    if (columns.zeros && !columns.fires) {
      columns.fires = columns.zeros.map((z) => (missing(z) ? null : 1 - z));
      meanings.fires = 'share of values that are not zero, 1 − zeros';
    }
    const names = [...FIRST.filter((n) => n in columns), ...Object.keys(columns).filter((n) => !FIRST.includes(n))];
    return { names, columns, meanings, label: (name) => LABELS[name] ?? name };
  }

  /** Columns that are shares of one, and are written in per cent. */
  const isShare = (name) => name === 'fires' || name === 'zeros';

  const api = { order, page, cell, csv, unitColumns, isShare };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).rows = api;
}

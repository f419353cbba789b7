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
    return values.map((_, i) => i).sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (missing(x) || missing(y)) return missing(x) - missing(y) || a - b;
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

  /**
   * The columns of a layer's units as the page shows them: the share of zeros is turned into the fire rate,
   * and the columns that people ask for first come first.
   */
  function unitColumns(data) {
    const columns = { ...data.columns };
    const meanings = { ...data.meanings };
    if (columns.zeros) {
      columns['fire rate'] = columns.zeros.map((z) => (missing(z) ? null : 1 - z));
      meanings['fire rate'] = 'share of values above zero, 1 − zeros';
      delete columns.zeros;
    }
    const first = ['fire rate', 'selectivity', 'norm', 'max', 'mean'];
    const names = [...first.filter((n) => n in columns), ...Object.keys(columns).filter((n) => !first.includes(n))];
    return { names, columns, meanings };
  }

  const api = { order, page, cell, csv, unitColumns };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).rows = api;
}

'use strict';
/** How numbers, shapes and sizes are written. Pure: no DOM. An unknown value is written as an en dash, never as 0. */
{
  const NONE = '–';
  const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);
  const minus = (text) => text.replace('-', '−');

  /** 105705600 -> '105,705,600' @param {?number} n */
  const count = (n) => (known(n) ? minus(Math.round(n).toLocaleString('en-US')) : NONE);

  /** 105705600 -> '105.7 M': three to four digits and an SI letter. @param {?number} n */
  function short(n) {
    if (!known(n)) return NONE;
    /** @type {Array<[number, string]>} */
    const steps = [
      [1e12, ' T'],
      [1e9, ' G'],
      [1e6, ' M'],
      [1e3, ' k'],
    ];
    const size = Math.abs(n);
    for (const [unit, letter] of steps) {
      // 999,950 would be written 1000.0 k: it goes up to the next letter.
      if (size >= unit * 0.99995 && size >= 1000) return number(n / unit, 4) + letter;
    }
    return number(n, 4);
  }

  /** Bytes in decimal units: 1238528 -> '1.239 MB'. @param {?number} n */
  const bytes = (n) =>
    !known(n)
      ? NONE
      : Math.abs(n) < 1000
        ? `${n} B`
        : short(n)
            .replace(' k', ' kB')
            .replace(/ ([MGT])$/, ' $1B');

  /** A measured value with `digits` significant digits: 0.0123, −4.1, 1.2×10⁻⁷. @param {?number} x */
  function number(x, digits = 3) {
    if (!known(x)) return NONE;
    if (x === 0) return '0';
    if (!Number.isFinite(x)) return x > 0 ? '∞' : '−∞';
    const size = Math.abs(x);
    if (size >= 1e6 || size < 1e-4) {
      const [mantissa, exponent] = x.toExponential(digits - 1).split('e');
      return minus(String(Number(mantissa))) + '×10' + superscript(Number(exponent));
    }
    const places = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
    return minus(Number(x.toFixed(Math.min(places, 8))).toLocaleString('en-US', { maximumFractionDigits: 8 }));
  }

  const superscript = (n) => String(n).replace(/[-0-9]/g, (c) => (c === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(c)]));

  /** 0.0123 -> '1.2 %'. @param {?number} x */
  function percent(x) {
    if (!known(x)) return NONE;
    const p = 100 * x;
    if (p > 0 && p < 0.1) return '<0.1 %';
    if (p < 100 && p > 99.9) return '>99.9 %';
    return minus(p.toFixed((p > 0 && p < 10) || (p > 90 && p < 100) ? 1 : 0)) + ' %';
  }

  /** [1, 64, 55, 55] -> '64×55×55'. The batch is left out. @param {?number[]} dims */
  const shape = (dims) => (!dims ? NONE : dims.length <= 1 ? String(dims[0] ?? 'scalar') : dims.slice(1).join('×'));

  /** The receptive field of a layer: '195×195', 'whole image'. @param {?{size: ?number[]}} field */
  function fieldSize(field) {
    if (!field) return NONE;
    if (!field.size || field.size.every((n) => n === null)) return 'whole image';
    return field.size.map((n) => (n === null ? 'all' : String(n))).join('×');
  }

  /** Seconds in words: 0.4 -> '0.4 s', 75 -> '1 min 15 s'. @param {?number} s */
  function duration(s) {
    if (!known(s)) return NONE;
    if (s < 60) return `${s < 10 ? Math.round(s * 10) / 10 : Math.round(s)} s`;
    const whole = Math.round(s);
    if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
    return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
  }

  /** plural(1, 'layer') -> '1 layer'; plural(2, 'layer') -> '2 layers'. */
  const plural = (n, one, many = one + 's') => `${count(n)} ${n === 1 ? one : many}`;

  /** 'features.0' and 37 -> 'features.0/37': the address of a unit. */
  const unit = (address, index) => `${address}/${index}`;

  /** The name of an operation without the marks of how the graph stores it: '_native_batch_norm_legit_no_training' -> 'batch_norm'. */
  const operator = (name) => name.replace(/^_*(native_)?/, '').replace(/_legit.*$|_with_indices$/, '');

  const api = { NONE, known, count, short, bytes, number, percent, shape, fieldSize, duration, plural, unit, operator };
  if (typeof module !== 'undefined') module.exports = api;
  else (window.convscope ??= {}).format = api;
}

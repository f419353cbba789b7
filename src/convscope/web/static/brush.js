'use strict';
/** Paint on the image: the class bars move while the brush does. The server answers with changed passes, exactly. */
{
  const {
    dom,
    dom: { h },
    format,
    live,
    strokes: lib,
  } = window.convscope;
  const FILLS = [
    ['grey', 'Grey'],
    ['mean', 'Mean colour'],
    ['blur', 'Blur'],
    ['noise', 'Noise'],
    ['image', 'Paint back'],
  ];
  const kept = new Map(); // image -> what was painted, while the page is drawn anew

  function section(ctx, name, content) {
    if (!live.state.may || !content) return null;
    const body = h('div', { dataset: { testid: 'brush' } });
    const button = h(
      'button.primary',
      { type: 'button', dataset: { testid: 'brush-open' }, onclick: () => begin(body, name, button) },
      'Take the brush',
    );
    body.append(
      h('p.quiet', {}, 'Cover parts of the image and watch the classes. Only what the brush changed is computed again.'),
      button,
    );
    if (kept.has(name)) open(body, name, kept.get(name));
    return dom.section('Paint on the image', null, body);
  }

  const question = (name, more) =>
    live.post('api/brush', { image: name.startsWith('upload-') ? name : Number(name), ...more });

  async function begin(body, name, button) {
    button.disabled = true;
    body.querySelector('.error')?.remove();
    try {
      const first = await question(name, { strokes: [], pictures: true });
      const pixels = {};
      for (const [fill] of FILLS) pixels[fill] = await read(first.fills[fill], first.width, first.height);
      const radius = Math.max(1, Math.round(Math.min(first.width, first.height) / 16));
      const state = { answer: first, pixels, paint: lib.empty(), fill: 'grey', radius, width: first.width, height: first.height };
      kept.set(name, state);
      open(body, name, state);
    } catch (error) {
      body.append(h('p.error', {}, error.message));
      button.disabled = false;
    }
  }

  /** A picture's pixels, RGBA. */
  function read(file, width, height) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const context = h('canvas', { width, height }).getContext('2d');
        context.drawImage(image, 0, 0);
        resolve(context.getImageData(0, 0, width, height).data);
      };
      image.onerror = () => reject(new Error('A picture of the brush is missing: reload the page.'));
      image.src = file;
    });
  }

  function open(body, name, state) {
    const { width, height } = state;
    const canvas = h('canvas', {
      width,
      height,
      'tabindex': 0,
      'role': 'application',
      'aria-label': 'The image. Arrow keys move the brush, space paints, Z takes back.',
      'dataset': { testid: 'brush-canvas' },
    });
    if (width < 150) canvas.classList.add('pixels');
    const context = canvas.getContext('2d');
    const image = context.createImageData(width, height);
    const cursor = h('i.brush-cursor', { 'aria-hidden': 'true', 'hidden': true });
    const bars = h('ol.brush-bars', { dataset: { testid: 'brush-bars' } });
    const status = h('p.quiet', { role: 'status', dataset: { testid: 'brush-status' } });
    const agreement = h('p.quiet', { dataset: { testid: 'brush-check' } });
    let drawn = { count: 0, points: 0 }; // what of the last stroke is on the canvas
    let asking = false,
      waiting = null,
      at = [width / 2, height / 2];

    function put(stroke, from) {
      const source = state.pixels[stroke.fill];
      for (const i of lib.covered(stroke, width, height, from)) image.data.set(source.subarray(4 * i, 4 * i + 4), 4 * i);
    }

    /** Draw what is new, or everything after a step back. */
    function draw(anew = false) {
      const { strokes } = state.paint;
      if (anew) {
        image.data.set(state.pixels.image);
        strokes.forEach((s) => put(s, 0));
      } else if (strokes.length) {
        const last = strokes.at(-1);
        put(last, drawn.count === strokes.length ? drawn.points : 0);
      }
      drawn = { count: strokes.length, points: strokes.at(-1)?.points.length ?? 0 };
      context.putImageData(image, 0, 0);
      undo.disabled = !strokes.length;
      redo.disabled = !state.paint.undone.length;
      clear.disabled = !strokes.length;
    }

    /** One question at a time; while it is answered the newest waits. */
    async function tell(check) {
      if (asking) {
        waiting = { check: check || waiting?.check };
        return;
      }
      asking = true;
      try {
        state.answer = await question(name, { strokes: state.paint.strokes, check });
        show(state.answer);
      } catch (error) {
        status.textContent = error.message;
      }
      asking = false;
      if (waiting) {
        const next = waiting;
        waiting = null;
        tell(next.check);
      }
    }

    function show(answer) {
      bars.replaceChildren(
        ...answer.classes.map((c) =>
          h(
            'li',
            { dataset: { index: c.index, now: c.now } },
            h('span.name', { title: c.name }, c.name),
            h(
              'span.track',
              { 'aria-hidden': 'true' },
              h('span.bar', { style: { width: `${100 * Math.min(Math.max(c.now, 0), 1)}%` } }),
              h('i.before', { style: { left: `${100 * Math.min(Math.max(c.before, 0), 1)}%` } }),
            ),
            h('span.value', {}, format.percent(c.now)),
            h('span.value.quiet', { title: 'before' }, format.percent(c.before)),
          ),
        ),
      );
      status.textContent =
        `${format.percent(answer.painted)} of the pixels changed; answered in ${format.number(answer.milliseconds)} ms. ` +
        `Bars: ${answer.kind}; the mark is the clean image.`;
      if (answer.check) {
        const { difference, largest, milliseconds } = answer.check;
        agreement.textContent =
          `A full pass (${format.number(milliseconds)} ms) says the same: outputs up to ${format.number(largest)} ` +
          `differ by at most ${format.number(difference)}.`;
        if (difference > 1e-3 * Math.max(1, largest))
          agreement.textContent = `A full pass differs by ${format.number(difference)}: please report this network.`;
      }
    }

    const change = (next, anew = false) => {
      state.paint = next;
      draw(anew);
    };
    const step = (action) => () => {
      change(action(state.paint), true);
      tell(true);
    };
    const press = (id, text, action, hint) =>
      h('button', { type: 'button', id, dataset: { testid: id }, onclick: step(action), title: hint }, text);
    const undo = press('brush-undo', 'Undo', lib.undo, 'Z');
    const redo = press('brush-redo', 'Redo', lib.redo, 'Shift Z');
    const clear = press('brush-reset', 'Reset', lib.reset, 'the clean image again');

    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height];
    };
    function hover([x, y]) {
      at = [x, y];
      cursor.hidden = false;
      Object.assign(cursor.style, {
        left: `${(100 * x) / width}%`,
        top: `${(100 * y) / height}%`,
        width: `${(200 * state.radius) / width}%`,
        height: `${(200 * state.radius) / height}%`,
      });
    }
    const round = (point) => point.map((v) => Math.round(v * 10) / 10);
    let painting = false;
    canvas.addEventListener('pointerdown', (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      canvas.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      painting = true;
      change(lib.begin(state.paint, state.fill, state.radius, round(place(event))));
      hover(place(event));
      tell(false);
    });
    canvas.addEventListener('pointermove', (event) => {
      hover(place(event));
      if (!painting) return;
      const before = lib.count(state.paint);
      for (const one of event.getCoalescedEvents?.() ?? [event]) state.paint = lib.extend(state.paint, round(place(one)));
      if (lib.count(state.paint) === before) return;
      draw();
      tell(false);
    });
    const end = () => {
      if (!painting) return;
      painting = false;
      tell(true);
    };
    canvas.addEventListener('pointerup', end);
    canvas.addEventListener('pointercancel', end);
    canvas.addEventListener('pointerleave', () => {
      if (!painting) cursor.hidden = true;
    });
    canvas.addEventListener('keydown', (event) => {
      const far = event.shiftKey ? 1 : Math.max(1, state.radius / 2);
      const move = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
      if (move) hover([Math.min(Math.max(at[0] + move[0], 0), width), Math.min(Math.max(at[1] + move[1], 0), height)]);
      else if (event.key === ' ') {
        change(lib.begin(state.paint, state.fill, state.radius, round(at)));
        tell(true);
      } else if (event.key.toLowerCase() === 'z' && !event.ctrlKey && !event.metaKey) step(event.shiftKey ? lib.redo : lib.undo)();
      else return;
      event.preventDefault();
      event.stopPropagation(); // else the page would go on to the next image
    });

    const most = Math.max(4, Math.round(Math.min(width, height) / 3));
    const size = h('input', {
      type: 'range',
      min: 1,
      max: most,
      value: state.radius,
      dataset: { testid: 'brush-size' },
      oninput: () => (state.radius = Number(size.value)),
    });
    const brushes = h('div.controls', {});
    const choose = () =>
      brushes.replaceChildren(
        dom.choice('Brush', FILLS, state.fill, (v) => {
          state.fill = v;
          choose();
          document.getElementById(`brush-${v}`)?.focus();
        }, 'brush'),
      );
    choose();
    body.replaceChildren(
      h('div.toolbar', {}, brushes, h('label.field', {}, h('span', {}, 'Size'), size), undo, redo, clear),
      h('div.brush-desk', {}, h('div.map-frame.brush-frame', {}, canvas, cursor), h('div', {}, bars, status, agreement)),
    );
    draw(true);
    show(state.answer);
  }

  Object.assign(window.convscope, { brush: section });
}

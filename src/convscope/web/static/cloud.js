'use strict';
/** A cloud of images on a canvas: drag pans, the wheel and two fingers zoom, hovering names, a click opens. */
{
  const { colour, field, format, sprite, theme, view: geometry } = window.convscope;
  const SIDE = 40; // pixels of a thumbnail
  const CROWD = 600; // more points than this in sight are drawn as marks only

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {any} data `points`, their `index` in the collection, `labels`, `thumbs`, and the `chosen` class or null
   * @param {?{x: number, y: number, zoom: number}} view
   * @param {any} on what to call: `hover(i, place)`, `open(index)`, `moved(view)`
   */
  function create(canvas, data, view, on) {
    const box = geometry.bounds(data.points);
    view = { x: view?.x ?? box.x, y: view?.y ?? box.y, zoom: view?.zoom ?? 1 };
    const places = colour.palette(data.labels);
    const sheets = new Map();
    let width = 0,
      height = 0,
      projected = [],
      hovered = -1,
      asked = false,
      moved = null;

    const k = () => geometry.scale(view, box, width, height);
    const redraw = () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        draw();
      });
    };

    function resize() {
      const ratio = window.devicePixelRatio || 1;
      ({ width, height } = canvas.getBoundingClientRect());
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      redraw();
    }

    function draw() {
      const started = performance.now();
      const dark = theme.isDark();
      const pen = canvas.getContext('2d');
      const ratio = window.devicePixelRatio || 1;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      const scale = k();
      projected = data.points.map((point) => geometry.project(view, scale, width, height, point));
      const inside = [];
      projected.forEach(([x, y], i) => {
        if (x > -SIDE && y > -SIDE && x < width + SIDE && y < height + SIDE) inside.push(i);
      });
      const bright = (i) => data.chosen === null || data.labels[i] === data.chosen;
      inside.sort((a, b) => Number(bright(a)) - Number(bright(b)) || a - b); // the chosen class lies on top
      const size = Math.min(7, 3.2 + Math.log2(Math.max(view.zoom, 1)) * 0.7);
      for (const i of inside) mark(pen, projected[i], size, data.labels[i], bright(i), dark);
      const pictures = inside.length <= CROWD ? geometry.uncovered(projected, inside.filter(bright), SIDE + 4) : [];
      for (const i of pictures) picture(pen, i, dark);
      if (hovered >= 0) ring(pen, projected[hovered], dark);
      Object.assign(canvas.dataset, {
        points: data.points.length,
        inside: inside.length,
        pictures: pictures.length,
        zoom: view.zoom.toFixed(3),
        hover: hovered < 0 ? '' : data.index[hovered],
        ms: (performance.now() - started).toFixed(1),
      });
    }

    function mark(pen, [x, y], r, label, bright, dark) {
      const place = places.get(label);
      pen.globalAlpha = bright ? 0.85 : 0.12;
      pen.fillStyle = colour.ofClass(place, dark);
      pen.beginPath();
      const form = colour.formOf(place);
      if (form === 'disc') pen.arc(x, y, r, 0, 2 * Math.PI);
      else if (form === 'square') pen.rect(x - r * 0.88, y - r * 0.88, r * 1.76, r * 1.76);
      else if (form === 'triangle')
        polygon(pen, [
          [x, y - r * 1.2],
          [x + r * 1.1, y + r * 0.8],
          [x - r * 1.1, y + r * 0.8],
        ]);
      else
        polygon(pen, [
          [x, y - r * 1.25],
          [x + r * 1.25, y],
          [x, y + r * 1.25],
          [x - r * 1.25, y],
        ]);
      pen.fill();
      pen.globalAlpha = 1;
    }

    function polygon(pen, corners) {
      corners.forEach(([x, y], i) => (i ? pen.lineTo(x, y) : pen.moveTo(x, y)));
      pen.closePath();
    }

    function picture(pen, i, dark) {
      const [x, y] = projected[i];
      const at = field.thumb(data.thumbs, data.index[i]);
      const sheet = sheets.get(at.sheet);
      if (!sheet) {
        if (sheet === undefined) {
          sheets.set(at.sheet, null); // asked for
          sprite.sheet(data.thumbs.sheets[at.sheet]).then(
            (image) => {
              sheets.set(at.sheet, image);
              redraw();
            },
            (error) => console.info(error.message),
          );
        }
        return;
      }
      pen.drawImage(sheet, at.x, at.y, data.thumbs.size, data.thumbs.size, x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
      pen.strokeStyle = colour.ofClass(places.get(data.labels[i]), dark);
      pen.lineWidth = 2;
      pen.strokeRect(x - SIDE / 2, y - SIDE / 2, SIDE, SIDE);
    }

    function ring(pen, [x, y], dark) {
      pen.strokeStyle = dark ? '#fff' : '#14181c';
      pen.lineWidth = 2;
      pen.beginPath();
      pen.arc(x, y, 10, 0, 2 * Math.PI);
      pen.stroke();
    }

    /** Take a new view; the address follows when it has come to rest. */
    function look(next) {
      view = next;
      redraw();
      clearTimeout(moved);
      moved = setTimeout(() => on.moved(view), 250);
    }

    function hover(i) {
      if (i === hovered) return;
      hovered = i;
      canvas.style.cursor = i >= 0 ? 'pointer' : 'grab';
      on.hover(i, i >= 0 ? projected[i] : null);
      redraw();
    }

    const pointerOf = (event) => {
      const rect = canvas.getBoundingClientRect();
      return [event.clientX - rect.left, event.clientY - rect.top];
    };
    const pan = (dx, dy) => look({ ...view, x: view.x - dx / k(), y: view.y + dy / k() });
    const zoom = (factor, at = [width / 2, height / 2]) => look(geometry.zoomAt(view, k(), width, height, at, factor));
    const pick = (at) => geometry.nearest(projected, at, 14);

    const fingers = new Map();
    let travelled = 0;
    canvas.addEventListener('pointerdown', (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, pointerOf(event));
      travelled = 0;
    });
    canvas.addEventListener('pointermove', (event) => {
      const at = pointerOf(event);
      const before = fingers.get(event.pointerId);
      if (!before) return hover(pick(at));
      const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      const [dx, dy] = [at[0] - before[0], at[1] - before[1]];
      travelled += Math.hypot(dx, dy);
      fingers.set(event.pointerId, at);
      if (!others.length) return pan(dx, dy);
      const gap = (p) => Math.hypot(p[0] - others[0][0], p[1] - others[0][1]);
      return zoom(gap(at) / Math.max(gap(before), 1), others[0]);
    });
    const release = (event) => {
      if (fingers.delete(event.pointerId) && event.type === 'pointerup' && travelled < 5 && !fingers.size) {
        const i = pick(pointerOf(event));
        if (i >= 0) on.open(data.index[i]);
      }
    };
    canvas.addEventListener('pointerup', release);
    canvas.addEventListener('pointercancel', release);
    canvas.addEventListener('pointerleave', () => {
      if (!fingers.size) hover(-1);
    });
    canvas.addEventListener(
      'wheel',
      (event) => {
        event.preventDefault();
        zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), pointerOf(event));
      },
      { passive: false },
    );
    canvas.addEventListener('keydown', (event) => {
      const steps = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };
      if (steps[event.key]) pan(...steps[event.key]);
      else if (event.key === '+' || event.key === '=') zoom(1.4);
      else if (event.key === '-') zoom(1 / 1.4);
      else if (event.key === '0') look({ x: box.x, y: box.y, zoom: 1 });
      else if (event.key === ' ') hover(geometry.nearest(projected, [width / 2, height / 2], Infinity));
      else if (event.key === 'Enter' && hovered >= 0) on.open(data.index[hovered]);
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    const observer = new ResizeObserver(resize);
    observer.observe(canvas);
    return {
      zoom,
      reset: () => look({ x: box.x, y: box.y, zoom: 1 }),
      places,
      stop: () => {
        observer.disconnect();
        clearTimeout(moved);
      },
      describe: () => `${format.plural(data.points.length, 'image')}`,
    };
  }

  Object.assign(window.convscope, { cloud: create });
}

'use strict';
/** Pictures out of sheets: thumbnails of images (with a receptive field drawn), tiles of filters and maps. */
{
  const {
    dom: { h },
    field,
  } = window.convscope;
  const sheets = new Map();

  /** A sheet's picture, loaded once. @returns {Promise<HTMLImageElement>} */
  function sheet(file) {
    if (!sheets.has(file)) {
      sheets.set(
        file,
        new Promise((resolve, reject) => {
          const image = new Image();
          image.onload = () => resolve(image);
          image.onerror = () => {
            sheets.delete(file);
            reject(new Error(`The picture ${file} is missing`));
          };
          image.src = file;
        }),
      );
    }
    return sheets.get(file);
  }

  /** Show one rectangle of a sheet in an element of the given size (CSS pixels). */
  function paint(element, file, place, width, height) {
    sheet(file).then(
      (image) => {
        const at = place(image);
        const [sx, sy] = [width / at.width, height / at.height];
        Object.assign(element.style, {
          backgroundImage: `url("${image.src}")`,
          backgroundSize: `${image.naturalWidth * sx}px ${image.naturalHeight * sy}px`,
          backgroundPosition: `${-at.x * sx}px ${-at.y * sy}px`,
        });
      },
      (error) => {
        element.classList.add('missing');
        element.title = error.message;
      },
    );
  }

  /**
   * An image's thumbnail, `size` pixels wide; `box` (shares of the thumbnail) is drawn on it.
   * @param collection data 'collection' @param {number} index
   */
  const thumb = (collection, index, size, box = null) =>
    view(collection, index, size, { left: 0, top: 0, side: 1, part: box });

  /** The same from nearer, so that a small receptive field is more than a dot. */
  const closeup = (collection, index, size, box) => view(collection, index, size, field.near(box));

  /** The square window {left, top, side} of a thumbnail (shares of it), with a part of the window framed. */
  function view(collection, index, size, { left, top, side, part: box }) {
    const { thumbs } = collection;
    if (thumbs.count !== undefined && index >= thumbs.count) {
      return h(
        'span.thumb.none',
        { style: { width: `${size}px`, height: `${size}px` }, title: 'no thumbnail was kept of this image' },
        size > 40 ? 'not kept' : '',
      );
    }
    const place = field.thumb(thumbs, index);
    const picture = h('span.thumb', {
      'role': 'img',
      'aria-label': collection.ids[index] ?? `image ${index}`,
      'style': { width: `${size}px`, height: `${size}px` },
    });
    paint(
      picture,
      thumbs.sheets[place.sheet],
      () => ({
        x: place.x + left * thumbs.size,
        y: place.y + top * thumbs.size,
        width: side * thumbs.size,
        height: side * thumbs.size,
      }),
      size,
      size,
    );
    if (size > side * thumbs.size * 1.5) picture.classList.add('enlarged');
    if (box && !box.whole) picture.append(frame(box));
    return picture;
  }

  const frame = (box) =>
    h('span.field-box', {
      'aria-hidden': 'true',
      'style': {
        left: `${100 * box.left}%`,
        top: `${100 * box.top}%`,
        width: `${100 * box.width}%`,
        height: `${100 * box.height}%`,
      },
    });

  /** One tile of a sheet {file, tile, gap, columns}, about `room` pixels wide; small tiles are enlarged by whole steps. */
  function tile(sheetFacts, index, room, label) {
    const [rows, columns] = sheetFacts.tile;
    const scale = field.enlarge(Math.max(rows, columns), room);
    const [width, height] = [columns * scale, rows * scale];
    const picture = h(`span.tile${scale < 1 ? '.reduced' : ''}`, {
      'role': 'img',
      'aria-label': label,
      'style': { width: `${width}px`, height: `${height}px` },
    });
    paint(picture, sheetFacts.file, (image) => field.tile(sheetFacts, index, image.naturalWidth), width, height);
    return picture;
  }

  /** One tile of a sheet, exactly `side` pixels square: for tiles that touch. */
  function whole(sheetFacts, index, side, label) {
    const picture = h('span.tile', {
      'role': 'img',
      'aria-label': label,
      'style': { width: `${side}px`, height: `${side}px` },
    });
    paint(picture, sheetFacts.file, (image) => field.tile(sheetFacts, index, image.naturalWidth), side, side);
    return picture;
  }

  Object.assign(window.convscope, { sprite: { sheet, thumb, closeup, tile, whole, frame } });
}

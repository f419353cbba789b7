'use strict';
/** Loads the atlas's data. A page opened from disk may not `fetch`, but it may add `<script src="data/KEY.js">`,
 * whose only statement is `convscope.put("KEY", {…});`. With `convscope serve` there is an API beside it. */
{
  const kept = new Map(); // key -> promise of the data
  const arrived = new Map();

  /** Called by the data files. */
  function put(key, value) {
    arrived.set(key, value);
  }

  /** @param {string} key such as 'network' or 'layer/features.0' @returns {Promise<any>} */
  function load(key) {
    if (!kept.has(key)) {
      const promise = request(key);
      kept.set(key, promise);
      promise.catch(() => kept.delete(key)); // a later try may find it
    }
    return kept.get(key);
  }

  function request(key) {
    return new Promise((resolve, reject) => {
      const file = `data/${key.split('/').map(encodeURIComponent).join('/')}.js`;
      const script = document.createElement('script');
      script.src = file;
      script.onload = () => {
        script.remove();
        if (arrived.has(key)) {
          resolve(arrived.get(key));
          arrived.delete(key);
        } else {
          reject(new Error(`${file} holds no data for “${key}”. Make the atlas again with the command on the About page.`));
        }
      };
      script.onerror = () => {
        script.remove();
        reject(new Error(`${file} is missing. Copy the whole atlas folder, or make it again with convscope atlas.`));
      };
      document.head.append(script);
    });
  }

  /** Forget what was loaded under a key. */
  const forget = (key) => kept.delete(key);

  Object.assign((window.convscope ??= {}), { put, data: { load, forget } });
}

'use strict';
/** Light or dark: as the system says, or as the reader chose. Runs before anything is drawn, so that nothing flashes. */
{
  const KEY = 'convscope-theme';
  const system = window.matchMedia('(prefers-color-scheme: dark)');
  let storage = null;
  try {
    storage = window.localStorage; // some browsers refuse it to pages from disk; the choice then lasts as long as the page
  } catch (error) {
    console.info('The chosen theme is not kept:', error.message);
  }
  let chosen = storage?.getItem(KEY) ?? null;
  const listeners = [];

  const isDark = () => (chosen ? chosen === 'dark' : system.matches);
  function apply() {
    document.documentElement.dataset.theme = isDark() ? 'dark' : 'light';
    listeners.forEach((listener) => listener());
  }
  function toggle() {
    chosen = isDark() ? 'light' : 'dark';
    if (chosen === (system.matches ? 'dark' : 'light')) chosen = null; // back to what the system says
    if (chosen) storage?.setItem(KEY, chosen);
    else storage?.removeItem(KEY);
    apply();
  }
  system.addEventListener('change', apply);
  (window.convscope ??= {}).theme = { isDark, toggle, onChange: (listener) => listeners.push(listener) };
  apply();
}

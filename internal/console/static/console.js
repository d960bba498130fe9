// What the pages do beyond htmx: times in the zone of the viewer, what is
// live, copying, and the key that goes to the search.
'use strict';
(() => {
  const forms = {
    clock: { hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3, hourCycle: 'h23' },
    hm: { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
    dayhm: { weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  };
  const two = (n) => String(n).padStart(2, '0');

  // localize puts times into the zone of the viewer; UTC stays in the title.
  function localize(root) {
    for (const time of root.querySelectorAll('time[datetime]:not([data-local])')) {
      const at = new Date(time.dateTime);
      const form = forms[time.className];
      time.textContent = form
        ? new Intl.DateTimeFormat('en-GB', form).format(at)
        : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
      time.dataset.local = '';
    }
  }

  function prepare(root) {
    localize(root);
    for (const button of root.querySelectorAll('[data-copy]')) button.hidden = !navigator.clipboard;
  }

  // Live parts. One stream is open while the page is seen, so that hidden
  // tabs hold none of the few connections that a browser has for a server.
  let stream = null;
  let gone = null;
  function sayGone(is) {
    clearTimeout(gone);
    const note = document.getElementById('gone');
    if (!note) return;
    if (!is) note.hidden = true;
    else gone = setTimeout(() => { note.hidden = false; }, 3000);
  }

  function listen() {
    const root = document.querySelector('[data-live]');
    if (!root || stream || document.hidden) return;
    stream = new EventSource(root.dataset.live);
    stream.onopen = () => sayGone(false);
    stream.onerror = () => {
      sayGone(true);
      if (stream && stream.readyState === EventSource.CLOSED) { // it was refused: perhaps who looked is signed out
        unlisten();
        fetch('/console/', { method: 'HEAD', redirect: 'manual' })
          .then((answer) => { if (answer.type === 'opaqueredirect') location.reload(); })
          .catch(() => {})
          .finally(() => setTimeout(listen, 5000));
      }
    };
    for (const name of ['tiles', 'charts', 'trouble', 'ringing', 'scope', 'nodes']) {
      stream.addEventListener(name, (event) => {
        const part = document.querySelector(`[data-swap="${name}"]`);
        if (part) swap(part, event.data);
      });
    }
    // The first one comes at once: what has changed since the page was
    // rendered is not missed.
    stream.addEventListener('changed', () => {
      for (const part of document.querySelectorAll('[hx-trigger="live-changed"]')) {
        if (!part.querySelector('details.confirm[open]')) htmx.trigger(part, 'live-changed');
      }
    });
  }

  function unlisten() {
    if (stream) stream.close();
    stream = null;
  }

  // swap replaces a part, and leaves the focus where it was.
  function swap(part, html) {
    const focused = part.contains(document.activeElement) ? document.activeElement.id : '';
    part.innerHTML = html;
    prepare(part);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  // What was unfolded stays so when htmx replaces the part that it is in.
  let unfolded = [];
  document.addEventListener('htmx:beforeSwap', (event) => {
    const live = event.detail.requestConfig?.triggeringEvent?.type === 'live-changed';
    if (live && event.detail.target.querySelector('details.confirm[open]')) {
      event.detail.shouldSwap = false; // somebody is about to press a button there
      return;
    }
    unfolded = [...event.detail.target.querySelectorAll('details[id]')].map((part) => [part.id, part.open]);
  });
  document.addEventListener('htmx:afterSwap', () => { // at once: later it could undo what somebody does
    for (const [id, open] of unfolded) {
      const part = document.getElementById(id);
      if (part) part.open = open;
    }
    unfolded = [];
  });

  document.addEventListener('visibilitychange', () => (document.hidden ? unlisten() : listen()));
  addEventListener('pagehide', unlisten);
  addEventListener('pageshow', listen);

  document.addEventListener('click', async (event) => {
    const button = event.target.closest('[data-copy]');
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = 'Copied';
    } catch {
      button.textContent = 'Select it by hand';
    }
    setTimeout(() => { button.textContent = 'Copy'; }, 2000);
  });

  document.addEventListener('keydown', (event) => {
    if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest('input, select, textarea, [contenteditable]')) return;
    const jump = document.getElementById('jump');
    if (!jump) return;
    event.preventDefault();
    jump.focus();
  });

  document.addEventListener('htmx:load', (event) => prepare(event.target));
  document.addEventListener('htmx:sendError', () => sayGone(true));
  document.addEventListener('htmx:afterRequest', (event) => { if (event.detail.xhr && event.detail.xhr.status) sayGone(false); });

  document.querySelector('.side [aria-current]')?.scrollIntoView({ block: 'nearest', inline: 'center' });
  prepare(document);
  listen();
})();

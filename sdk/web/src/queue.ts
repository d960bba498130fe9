import { guard } from './emitter.js';

type Item = { run: () => void; shut?: never } | { run?: never; shut: boolean };

/**
 * Events on their way to the app, in order. What stands behind a barrier waits
 * for it, so that a promise is settled, and whoever awaits it has run, before
 * the events that its request caused.
 */
export class Queue {
  #items: Item[] = [];
  #running = false;

  push(run: () => void): void {
    this.#items.push({ run });
    this.#pump();
  }

  /** Puts a barrier behind what is queued, and gives what opens it, which it does one task later. */
  barrier(): () => void {
    const item = { shut: true };
    this.#items.push(item);
    return () => {
      nextTask(() => {
        item.shut = false;
        this.#pump();
      });
    };
  }

  #pump(): void {
    if (this.#running) return;
    this.#running = true;
    while (this.#items[0] && !this.#items[0].shut) {
      const { run } = this.#items.shift() as Item;
      if (run) guard(run);
    }
    this.#running = false;
  }
}

// nextTask runs a function after all promise reactions of the present task.
// Timers would do too, but a browser slows them down in a tab that is hidden.
const nextTask: (run: () => void) => void = /* @__PURE__ */ (() => {
  const { setImmediate: immediate } = globalThis as { setImmediate?: (run: () => void) => void };
  if (immediate) return (run: () => void) => void immediate(run);
  if (typeof MessageChannel === 'undefined') return (run: () => void) => void setTimeout(run, 0);
  let channel: MessageChannel | undefined;
  const waiting: (() => void)[] = [];
  return (run: () => void) => {
    if (!channel) {
      channel = new MessageChannel();
      channel.port1.onmessage = () => waiting.shift()?.();
    }
    waiting.push(run);
    channel.port2.postMessage(0);
  };
})();

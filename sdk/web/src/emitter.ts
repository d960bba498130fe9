/** Listeners by the name of an event. */
export class Emitter<Events> {
  #listeners = new Map<keyof Events, Set<(data: never) => void>>();

  on<K extends keyof Events>(name: K, listener: (data: Events[K]) => void): void {
    const set = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, set.add(listener));
  }

  /** Removes a listener, or all of the event. */
  off<K extends keyof Events>(name: K, listener?: (data: Events[K]) => void): void {
    if (listener) this.#listeners.get(name)?.delete(listener);
    else this.#listeners.delete(name);
  }

  emit<K extends keyof Events>(name: K, data: Events[K]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      guard(() => (listener as (data: Events[K]) => void)(data));
    }
  }
}

/** Runs code of the app. What it throws is reported, and stops nothing else. */
export function guard(run: () => void): void {
  try {
    run();
  } catch (error) {
    if (typeof reportError === 'function') reportError(error);
    else console.error(error);
  }
}

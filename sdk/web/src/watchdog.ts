const PROBE_AFTER = 0.8; // heartbeats of silence
const DEAD_AFTER = 1.8;
const LATE = 1500; // ms; a timer this late was held up, and says nothing of the peer

/**
 * Notices a dead connection within two heartbeats: after 0.8 of silence the
 * peer is asked, and after 1.8 it is given up. A machine or tab that slept is
 * noticed by timers that are late; then the peer is asked once more.
 */
export class Watchdog {
  readonly #heartbeat: number;
  readonly #probe: (slept: boolean) => void;
  readonly #dead: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = 0; // of the timer, by the clock of the machine
  #heard = performance.now();
  #probes = 0;

  /** heartbeat is in milliseconds. probe asks the peer; it is told whether this device has slept. */
  constructor(heartbeat: number, probe: (slept: boolean) => void, dead: () => void) {
    this.#heartbeat = heartbeat;
    this.#probe = probe;
    this.#dead = dead;
    this.#arm();
  }

  /** Takes note of a sign of life. True: this device had slept before it came. */
  heard(): boolean {
    const slept = Date.now() - this.#due > LATE;
    this.#heard = performance.now();
    this.#probes = 0;
    if (slept) this.#arm();
    return slept;
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(after = this.#left(PROBE_AFTER)): void {
    clearTimeout(this.#timer);
    const wait = Math.max(after, 10);
    this.#due = Date.now() + wait;
    this.#timer = setTimeout(() => this.#tick(), wait);
  }

  #left(heartbeats: number): number {
    return this.#heartbeat * heartbeats - (performance.now() - this.#heard);
  }

  #tick(): void {
    const late = Date.now() - this.#due > LATE;
    const left = this.#left(PROBE_AFTER);
    if (left > 1) {
      this.#arm(left);
    } else if (this.#probes > 1 || (this.#probes === 1 && !late)) {
      this.#dead();
    } else {
      this.#probes++;
      this.#probe(late);
      this.#arm(late ? this.#heartbeat : this.#left(DEAD_AFTER));
    }
  }
}

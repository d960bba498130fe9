const LEAST = 500; // ms
const MOST = 15_000; // ms

/**
 * The wait in milliseconds before attempt n, counted from 0, to reconnect. It
 * is drawn from 0.5 s up to a ceiling that doubles from 2 s to 15 s, so that
 * clients which lost a server together come back one after the other.
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(MOST, 2000 * 2 ** attempt);
  return LEAST + random() * (ceiling - LEAST);
}

/** A connection that lived this long, in milliseconds, begins counting anew. */
export const STABLE_AFTER = MOST;

/**
 * Calls back when a tab or device may have slept, or the network may be back.
 * Gives the function that stops it. Elsewhere than in a browser it does
 * nothing.
 */
export function onWake(wake: () => void): () => void {
  if (typeof document === 'undefined' || typeof window === 'undefined') return () => {};
  const visible = () => {
    if (document.visibilityState === 'visible') wake();
  };
  const targets: [EventTarget, string, () => void][] = [
    [document, 'visibilitychange', visible],
    [document, 'resume', wake],
    [window, 'pageshow', wake],
    [window, 'online', wake],
  ];
  for (const [target, name, listener] of targets) target.addEventListener(name, listener);
  return () => {
    for (const [target, name, listener] of targets) target.removeEventListener(name, listener);
  };
}

/**
 * What can end early: by the abort of a signal, or with the handle or object that it depends on.
 *
 * @module
 */

/** Something that can end early. */
export interface Cancellable {
  cancel(reason: unknown): void;
}

/**
 * What each signal cancels. There is one listener a signal, because adding a listener takes longer the more
 * there are.
 */
const followers = new WeakMap<AbortSignal, Followers>();

class Followers {
  readonly all = new Set<Cancellable>();

  handleEvent({ target }: Event): void {
    const signal = target as AbortSignal;
    followers.delete(signal);
    for (const follower of this.all) follower.cancel(signal.reason);
  }
}

/** Cancels something once a signal is aborted. */
export function follow(signal: AbortSignal, follower: Cancellable): void {
  const { all } = followers.get(signal) ?? listen(signal);
  all.add(follower);
}

function listen(signal: AbortSignal): Followers {
  const listener = new Followers();
  followers.set(signal, listener);
  signal.addEventListener("abort", listener, { once: true });
  return listener;
}

/** Calls that off. */
export function unfollow(signal: AbortSignal, follower: Cancellable): void {
  const listener = followers.get(signal);
  if (listener === undefined || !listener.all.delete(follower)) return;
  if (listener.all.size > 0) return;
  followers.delete(signal);
  signal.removeEventListener("abort", listener);
}

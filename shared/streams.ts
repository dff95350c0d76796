/**
 * Channels as web streams.
 *
 * @module
 */

/** A stream of what is received, until an error that means the end. */
export function readableOf<Item>(
  receive: (options: { signal: AbortSignal }) => Promise<Item>,
  isEnd: (error: unknown) => boolean,
): ReadableStream<Item> {
  const cancelled = new AbortController();
  return new ReadableStream<Item>({
    async pull(controller) {
      try {
        // A message is received in the same turn in which it is handed on, so a cancel loses none.
        controller.enqueue(await receive({ signal: cancelled.signal }));
      } catch (error) {
        if (cancelled.signal.aborted) return;
        if (!isEnd(error)) throw error;
        controller.close();
      }
    },
    cancel: (reason) => cancelled.abort(reason),
  }, { highWaterMark: 0 });
}

/** A stream of what is to be sent. */
export function writableOf<Item>(
  send: (item: Item, options: { signal: AbortSignal }) => Promise<void>,
): WritableStream<Item> {
  return new WritableStream<Item>({
    write(item, controller) {
      // Not all types of runtimes know the signal.
      const { signal } = controller as object as { readonly signal: AbortSignal };
      return send(item, { signal });
    },
  });
}

/**
 * Web streams over what waits receive and send.
 *
 * @module
 */

/** What a stream that is read asks for. */
export interface Demand<Item> {
  /** Is aborted when the stream is cancelled. */
  readonly signal: AbortSignal;
  /** Whether anybody reads the stream. An item that is taken when nobody does can be lost in it. */
  isRead(): boolean;
  /** Gives an item to the reader: in the turn in which it is taken, so that no cancel comes between. */
  hand(item: Item): void;
}

/**
 * A stream that receives only when it is read, until an error that means the end. `ended` is called when it
 * is closed, cancelled or broken.
 */
export function readableOf<Item>(
  receive: (demand: Demand<Item>) => Promise<void>,
  isEnd: (error: unknown) => boolean,
  ended: () => void,
): ReadableStream<Item> {
  const cancelled = new AbortController();
  const { signal } = cancelled;
  let pulling: Promise<void> | undefined;
  const stream: ReadableStream<Item> = new ReadableStream<Item>({
    pull(controller) {
      const demand: Demand<Item> = {
        signal,
        isRead: () => stream.locked && !signal.aborted,
        hand: (item) => controller.enqueue(item),
      };
      return pulling = receive(demand).catch((error) => {
        if (signal.aborted) return;
        ended();
        if (!isEnd(error)) throw error;
        controller.close();
      });
    },
    async cancel(reason) {
      ended();
      cancelled.abort(reason);
      await pulling;
    },
  }, { highWaterMark: 0 });
  return stream;
}

/**
 * A stream of what is to be sent, whose writers wait as long as a send does. Aborting it ends a send that
 * waits. `ended` is called when it is closed, aborted or broken.
 */
export function writableOf<Item>(
  send: (item: Item, options: { signal: AbortSignal }) => Promise<void>,
  ended: () => void,
): WritableStream<Item> {
  return new WritableStream<Item>({
    async write(item, controller) {
      // Not all types of runtimes know the signal.
      const { signal } = controller as object as { readonly signal: AbortSignal };
      try {
        await send(item, { signal });
      } catch (error) {
        ended();
        throw error;
      }
    },
    abort: ended,
    close: ended,
  });
}

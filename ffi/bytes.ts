/**
 * Data that users hand over: strings and anything that views bytes.
 *
 * @module
 */

const encoder = new TextEncoder();

/** Returns the bytes of a text, as UTF-8, or a view of a buffer. */
export function encode(data: string | ArrayBuffer | ArrayBufferView, doing: string): Uint8Array {
  if (typeof data === "string") return encoder.encode(data);
  return bytesOf(data, doing, "a string, an ArrayBuffer or a view of one");
}

/** Copies bytes. A `slice()` of Node's buffers would share their memory. */
export function copyOf(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

/** Views the bytes of a buffer, without copying. */
export function bytesOf(
  data: ArrayBuffer | ArrayBufferView,
  doing: string,
  expected = "an ArrayBuffer or a view of one",
): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError(`Cannot ${doing}: expected ${expected}`);
}

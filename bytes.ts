/**
 * Data that users hand over: strings and anything that views bytes.
 *
 * @module
 */

/** Views the bytes of a buffer, without copying. */
export function bytesOf(data: BufferSource, doing: string): Uint8Array {
  if (data instanceof Uint8Array) return data;
  if (ArrayBuffer.isView(data)) {
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  }
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  throw new TypeError(`Cannot ${doing}: expected a string, an ArrayBuffer or a view of one`);
}

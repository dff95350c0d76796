/**
 * How items become bytes.
 *
 * @module
 */

import { checkFunction } from "../ffi/check.ts";

/** How items of a kind become bytes, and bytes items. All processes have to use the same. */
export interface Codec<Item> {
  /** What it is called. */
  readonly name: string;
  /** Makes bytes of an item. */
  encode(item: Item): Uint8Array;
  /** Makes an item of bytes, which are its own. */
  decode(bytes: Uint8Array<ArrayBuffer>): Item;
}

/** How the items of a variable or a broadcast are kept. */
export interface CodecOptions<Item> {
  /**
   * How items become bytes.
   *
   * @default {JSON}
   */
  codec?: Codec<Item> | undefined;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const json: Codec<unknown> = {
  name: "json",
  encode(item) {
    const text = JSON.stringify(item) as string | undefined;
    if (text !== undefined) return encoder.encode(text);
    throw new TypeError(`Cannot encode a value of type ${typeof item} as JSON`);
  },
  decode: (bytes) => JSON.parse(decoder.decode(bytes)),
};

/** The codec that options say, or JSON. */
export function codecOf<Item>({ codec }: CodecOptions<Item>): Codec<Item> {
  if (codec === undefined) return json as Codec<Item>;
  checkFunction(codec.encode, "encode of a codec");
  checkFunction(codec.decode, "decode of a codec");
  return codec;
}

/** The bytes of a column, in a buffer of their own. */
export function ownBytes(data: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(data);
}

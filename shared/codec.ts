/**
 * How items become bytes and bytes become items: {@linkcode bytes}, {@linkcode text}, {@linkcode json}.
 *
 * @module
 */

import { bytesOf } from "../ffi/bytes.ts";
import { checkFunction } from "../ffi/check.ts";
import { hashOf } from "./layout.ts";

/** Turns items into bytes and back. */
export interface Codec<Item> {
  /**
   * Tells codecs apart: processes that share a structure have to use codecs of the same name, which is
   * checked where it is opened.
   */
  readonly name: string;
  /**
   * Gives the bytes of an item, which are copied before anything else happens. Where it throws, nothing
   * is sent.
   */
  encode(item: Item): Uint8Array;
  /**
   * Makes an item of bytes, which are its own. Where it throws, a message has been received all the same;
   * a job stays held, and a value as it is.
   */
  decode(bytes: Uint8Array<ArrayBuffer>): Item;
}

/**
 * Bytes as they are. What is received belongs to the receiver alone, but in Deno and Node messages of up to
 * 16 KiB are parts of one buffer of 64 to 256 KiB, which stays as long as one of them: `slice()` what is to
 * be transferred to a Worker, or kept for long.
 */
export const bytes: Codec<Uint8Array> = {
  name: "bytes",
  encode: (item) => bytesOf(item as Uint8Array<ArrayBuffer>, "encode an item as bytes"),
  decode: (bytes) => bytes,
};

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Text, as UTF-8. */
export const text: Codec<string> = {
  name: "text",
  encode(item) {
    if (typeof item === "string") return encoder.encode(item);
    throw new TypeError(`Cannot encode a value of type ${typeof item} as text: expected a string`);
  },
  decode: (bytes) => decoder.decode(bytes),
};

const anything: Codec<unknown> = {
  name: "json",
  encode(item) {
    const text = JSON.stringify(item) as string | undefined;
    if (text !== undefined) return encoder.encode(text);
    throw new TypeError(`Cannot encode a value of type ${typeof item} as JSON`);
  },
  decode: (bytes) => JSON.parse(decoder.decode(bytes)),
};

/**
 * Encodes what JSON can express. That what is received is an `Item` is not checked.
 *
 * @example
 * ```ts
 * import { json } from "@sysv/ipc/shared";
 * import { assertEquals } from "@std/assert";
 *
 * const codec = json<{ url: string }>();
 * assertEquals(codec.decode(codec.encode({ url: "/" })), { url: "/" });
 * ```
 *
 * @returns The codec.
 */
export function json<Item>(): Codec<Item> {
  return anything as Codec<Item>;
}

/** How items are encoded. */
export interface CodecOptions<Item> {
  /**
   * What turns items into bytes and back.
   *
   * @default {json()}
   */
  codec?: Codec<Item> | undefined;
}

/** Checks a codec, before anything is made. */
export function codecOf<Item>({ codec = json<Item>() }: CodecOptions<Item>): Codec<Item> {
  if (typeof codec !== "object" || codec === null || typeof codec.name !== "string") {
    throw new TypeError("Cannot use this as codec: expected an object with a name");
  }
  checkFunction(codec.encode, "encode of a codec");
  checkFunction(codec.decode, "decode of a codec");
  return codec;
}

/** What stands for a codec in a header. */
export function formatOf({ name }: { readonly name: string }): number {
  return hashOf(name) || 1;
}

// Pictures as modules take them: 8-bit RGB, three bytes a pixel, rows from top to bottom without gaps.

import { IsomerError, part } from "./errors.js";

export interface Picture {
  width: number;
  height: number;
  rgb: Uint8Array<ArrayBuffer>;
}

/** Whatever a page has. Size and preparation are the module's business: give the picture as it is. */
export type ImageSource = Picture | ImageData | Blob | ImageBitmap | HTMLImageElement | HTMLCanvasElement | HTMLVideoElement | OffscreenCanvas | VideoFrame;

const maxSide = 1 << 20;

export function checkPicture(p: Picture): Picture {
  const ok = (n: number): boolean => Number.isInteger(n) && n >= 1 && n <= maxSide;
  if (!ok(p.width) || !ok(p.height)) throw new IsomerError("argument", `bad argument: image of ${p.width}×${p.height} pixels, want 1 to ${maxSide} each`);
  const want = p.width * p.height * 3;
  if (p.rgb.length !== want) throw new IsomerError("argument", `bad argument: image of ${p.width}×${p.height} pixels has ${p.rgb.length} bytes, want ${want} (8-bit RGB)`);
  return p;
}

/** RGB of what a canvas gives: transparency is put on black, as Go's bridge does. */
export function fromRGBA(width: number, height: number, rgba: Uint8ClampedArray | Uint8Array): Picture {
  const rgb = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < rgb.length; from += 4, to += 3) {
    const a = rgba[from + 3] * 257;
    // As image/color multiplies, in 16 bits a channel.
    for (let c = 0; c < 3; c++) rgb[to + c] = Math.floor((rgba[from + c] * 257 * a) / 65535) >> 8;
  }
  return { width, height, rgb };
}

/** RGB of whatever a page has. A picture's orientation is applied, colours are those of sRGB. */
export async function toPicture(source: ImageSource): Promise<Picture> {
  if ("rgb" in source) return checkPicture(source);
  const drawn = "data" in source && "width" in source ? source : await (await part(import("./picture.js"))).draw(source);
  if (!drawn) throw new IsomerError("argument", "bad argument: the picture has no pixels yet");
  return fromRGBA(drawn.width, drawn.height, drawn.data as Uint8ClampedArray);
}

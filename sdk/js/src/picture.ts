// The pixels of what a page shows: pictures, canvases, videos and files.

import type { ImageSource, Picture } from "./image.js";

/** The source's pixels, drawn on a canvas; undefined: it has none yet. */
export async function draw(source: Exclude<ImageSource, Picture | ImageData>): Promise<ImageData | undefined> {
  const own = source instanceof Blob;
  const bitmap = own ? await createImageBitmap(source, { premultiplyAlpha: "none" }) : (source as ImageBitmap);
  const size = bitmap as { videoWidth?: number; videoHeight?: number; naturalWidth?: number; naturalHeight?: number; displayWidth?: number; displayHeight?: number; width: number; height: number };
  const width = size.videoWidth ?? size.naturalWidth ?? size.displayWidth ?? size.width;
  const height = size.videoHeight ?? size.naturalHeight ?? size.displayHeight ?? size.height;
  if (!width || !height) return undefined;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true })!;
  context.drawImage(bitmap, 0, 0);
  if (own) bitmap.close();
  return context.getImageData(0, 0, width, height);
}

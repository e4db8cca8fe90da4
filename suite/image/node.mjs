// Makes a thumbnail of a picture and gives its pixels, 0 to 1.
import sharp from 'sharp';

sharp.cache(false);
sharp.concurrency(1);

export async function run(picture) {
  const { data } = await sharp(Buffer.from(picture, 'base64'))
    .resize(32, 24, { fit: 'fill', kernel: 'lanczos3' })
    .raw()
    .toBuffer({ resolveWithObject: true });
  return Array.from(data, (value) => value / 255);
}

// Makes data URLs of files, in formats that the server reads.

const kFormats = ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/bmp'];
const kMaxBytes = 3 << 20;
const kMaxSide = 1600;
const kExif = 0x45786966;
const kOrientation = 0x0112;

// Where the TIFF part of a JPEG's EXIF segment begins; null if there is no such segment.
function findExif(view) {
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) {
    return null;
  }
  for (let at = 2; at + 10 < view.byteLength && view.getUint8(at) === 0xff; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint16(at) === 0xffe1 && view.getUint32(at + 4) === kExif) {
      return at + 10;
    }
  }
  return null;
}

// Whether a browser rotates the image: the server reads pixels as they are stored and ignores EXIF.
function isRotated(bytes) {
  const view = new DataView(bytes);
  const tiff = findExif(view);
  if (tiff === null || tiff + 8 > view.byteLength) {
    return false;
  }
  const little = view.getUint16(tiff) === 0x4949;
  const list = tiff + view.getUint32(tiff + 4, little);
  const count = list + 2 <= view.byteLength ? view.getUint16(list, little) : 0;
  for (let entry = list + 2; entry < list + 2 + 12 * count && entry + 12 <= view.byteLength; entry += 12) {
    if (view.getUint16(entry, little) === kOrientation) {
      return view.getUint16(entry + 8, little) > 1;
    }
  }
  return false;
}

function dataUrlOf(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

async function decoded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function redrawn(image) {
  const scale = Math.min(1, kMaxSide / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/jpeg', 0.92);
}

// The image {name, url} of a file. Rejects if the browser cannot show it. A small image in a format that the server
// reads stays as it is; other images are drawn again as JPEG.
export async function imageOfFile(file) {
  if (file.type && !file.type.startsWith('image/')) {
    throw new Error('not an image');
  }
  const object = URL.createObjectURL(file);
  try {
    const image = await decoded(object);
    const stays = kFormats.includes(file.type) && file.size <= kMaxBytes && !isRotated(await file.arrayBuffer());
    return { name: file.name, url: stays ? await dataUrlOf(file) : redrawn(image) };
  } finally {
    URL.revokeObjectURL(object);
  }
}

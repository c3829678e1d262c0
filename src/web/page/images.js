// Files to data URLs that the server can read.

const kSentAsIs = ['image/jpeg', 'image/png', 'image/webp', 'image/gif', 'image/bmp'];
const kLargestAsIs = 3 << 20;
const kLongestSide = 1600;

// The server reads pixels as they are stored; cameras store some sideways and say so in EXIF.
function isTurned(bytes) {
  const view = new DataView(bytes);
  if (view.byteLength < 4 || view.getUint16(0) !== 0xffd8) {
    return false;
  }
  for (let at = 2; at + 10 < view.byteLength && view.getUint8(at) === 0xff; at += 2 + view.getUint16(at + 2)) {
    if (view.getUint16(at) !== 0xffe1 || view.getUint32(at + 4) !== 0x45786966) {
      continue;
    }
    const tiff = at + 10;
    if (tiff + 8 > view.byteLength) {
      return false;
    }
    const little = view.getUint16(tiff) === 0x4949;
    const list = tiff + view.getUint32(tiff + 4, little);
    const count = list + 2 <= view.byteLength ? view.getUint16(list, little) : 0;
    for (let i = 0; i < count && list + 14 + 12 * i <= view.byteLength; ++i) {
      if (view.getUint16(list + 2 + 12 * i, little) === 0x0112) {
        return view.getUint16(list + 10 + 12 * i, little) > 1;
      }
    }
    return false;
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
  const scale = Math.min(1, kLongestSide / Math.max(image.naturalWidth, image.naturalHeight));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(image.naturalWidth * scale));
  canvas.height = Math.max(1, Math.round(image.naturalHeight * scale));
  const context = canvas.getContext('2d');
  context.fillStyle = 'white';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/jpeg', 0.92);
}

// An image {name, url} of a file; rejects where the browser cannot show it. A small image in a format that the server
// knows goes as it is; any other that the browser can show is drawn anew.
export async function imageOfFile(file) {
  if (file.type && !file.type.startsWith('image/')) {
    throw new Error('not an image');
  }
  const object = URL.createObjectURL(file);
  try {
    const image = await decoded(object);
    const asIs = kSentAsIs.includes(file.type) && file.size <= kLargestAsIs && !isTurned(await file.arrayBuffer());
    return { name: file.name, url: asIs ? await dataUrlOf(file) : redrawn(image) };
  } finally {
    URL.revokeObjectURL(object);
  }
}

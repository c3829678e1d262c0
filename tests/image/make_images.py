"""Images of every kind that the decoder reads, written by Pillow where it can and by hand where it cannot."""

import io
import math
import random
import struct
import zlib

from PIL import Image, ImageDraw, ImageFile

ImageFile.MAXBLOCK = 1 << 24  # Pillow's JPEG writer cannot go on where its buffer is full.


def random_side(rng, largest=480):
    return max(1, int(math.exp(rng.uniform(0, math.log(largest)))))


def drawn(rng, width, height, mode="RGB"):
    """Soft colours, some shapes and some noise."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4, "CMYK": 4, "LA": 2}[mode]
    planes = []
    for _ in range(channels):
        small = Image.frombytes("L", (5, 4), rng.randbytes(20)).resize((width, height), Image.BICUBIC)
        draw = ImageDraw.Draw(small)
        for _ in range(rng.randrange(4)):
            x, y = rng.randrange(width), rng.randrange(height)
            draw.ellipse((x, y, x + rng.randrange(1, width + 1), y + rng.randrange(1, height + 1)), fill=rng.randrange(256))
        if rng.random() < 0.5:
            noise = Image.frombytes("L", (width, height), rng.randbytes(width * height))
            small = Image.blend(small, noise, rng.random())
        planes.append(small)
    return planes[0] if channels == 1 else Image.merge(mode, planes)


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


# --- JPEG ---------------------------------------------------------------------------------------------------------


def jpeg(rng, mode="RGB", size=None, **options):
    width, height = size or (random_side(rng), random_side(rng))
    if rng.random() < 0.3:
        options["restart_marker_blocks"] = rng.randrange(1, 9)
    return saved(drawn(rng, width, height, mode), "JPEG", quality=rng.randrange(3, 101), **options)


def jpeg_resampled(rng, factors, subsampling):
    """Another layout of the luma blocks in a file whose count of blocks stays right: the image is jumbled but valid."""
    side = 32 * rng.randrange(1, 9)
    data = bytearray(saved(drawn(rng, side, side), "JPEG", quality=rng.randrange(20, 96), subsampling=subsampling))
    frame = data.index(b"\xff\xc0")
    data[frame + 11] = factors
    return bytes(data)


def jpeg_ycck(rng, **options):
    data = bytearray(jpeg(rng, "CMYK", **options))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def jpeg_exif(rng):
    exif = Image.Exif()
    exif[0x0112] = rng.randrange(2, 9)
    return jpeg(rng, exif=exif)


# --- PNG ----------------------------------------------------------------------------------------------------------

PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png_chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_filtered(rng, rows, step):
    """The rows with a random filter each."""
    out = bytearray()
    above = bytes(len(rows[0])) if rows else b""
    for row in rows:
        kind = rng.randrange(5)
        out.append(kind)
        for i, value in enumerate(row):
            a = row[i - step] if i >= step else 0
            b = above[i]
            c = above[i - step] if i >= step else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((value - (0, a, b, (a + b) // 2, paeth)[kind]) & 255)
        above = row
    return bytes(out)


def png_packed(samples, depth):
    """One row of samples (of `depth` bits up to 8) to bytes."""
    if depth == 8:
        return bytes(samples)
    out = bytearray((len(samples) * depth + 7) // 8)
    for i, value in enumerate(samples):
        out[i * depth // 8] |= value << (8 - depth - i * depth % 8)
    return bytes(out)


def png_raw(rng, color, depth, interlaced, transparent, entries=None):
    """A PNG of any colour type and depth up to 8."""
    width, height = random_side(rng, 160), random_side(rng, 160)
    channels = PNG_CHANNELS[color]
    limit = min(1 << depth, entries or 256)
    noisy = rng.random() < 0.3
    grid = []
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                grid.append(rng.randrange(limit) if noisy else (x * (c + 1) // 3 + y // 2) % limit)

    def row(y, xs):
        return png_packed([grid[(y * width + x) * channels + c] for x in xs for c in range(channels)], depth)

    step = max(1, channels * depth // 8)
    if interlaced:
        data = b""
        for x0, y0, dx, dy in ADAM7:
            xs, ys = range(x0, width, dx), range(y0, height, dy)
            if len(xs) and len(ys):
                data += png_filtered(rng, [row(y, xs) for y in ys], step)
    else:
        data = png_filtered(rng, [row(y, range(width)) for y in range(height)], step)
    out = b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced)))
    if color == 3:
        out += png_chunk(b"PLTE", rng.randbytes(3 * limit))
    if transparent:
        body = {0: struct.pack(">H", rng.randrange(limit)), 2: struct.pack(">HHH", *(rng.randrange(limit) for _ in range(3))),
                3: rng.randbytes(rng.randrange(1, limit + 1))}[color]
        out += png_chunk(b"tRNS", body)
    packed = zlib.compress(data, rng.randrange(10))
    cut = rng.randrange(len(packed) + 1)
    for part in (packed[:cut], packed[cut:]):
        out += png_chunk(b"IDAT", part)
    return out + png_chunk(b"IEND", b"")


def png_missing_entries(rng):
    """Indices outside the palette."""
    data = bytearray(png_raw(rng, 3, 8, False, False))
    at = data.index(b"PLTE") - 4
    count = rng.randrange(1, 200)
    return bytes(data[:at]) + png_chunk(b"PLTE", bytes(data[at + 8 : at + 8 + 3 * count])) + bytes(data[at + 12 + 768 :])


def png_saved(rng, mode):
    return saved(drawn(rng, random_side(rng), random_side(rng), mode), "PNG", compress_level=rng.randrange(10))


# --- BMP ----------------------------------------------------------------------------------------------------------


def bmp_file(width, height, bits, compression, palette, pixels, masks=b"", core=False, colors=0):
    if core:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 2835, 2835, colors, 0)
    offset = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + info + masks + palette + pixels


def bmp_palette(rng, bits, core=False, top_down=False):
    width, height = random_side(rng), random_side(rng)
    colors = 1 << bits
    palette = b"".join(rng.randbytes(3) + (b"" if core else b"\0") for _ in range(colors))
    stride = (width * bits + 31) // 32 * 4
    return bmp_file(width, -height if top_down else height, bits, 0, palette, rng.randbytes(stride * height), core=core)


def bmp_missing_entries(rng, gray):
    width, height, colors = random_side(rng), random_side(rng), rng.randrange(3, 200)
    palette = b"".join((bytes((i, i, i)) if gray else rng.randbytes(3)) + b"\0" for i in range(colors))
    pixels = rng.randbytes((width + 3) // 4 * 4 * height)
    return bmp_file(width, height, 8, 0, palette, pixels, colors=colors)


def bmp_color(rng, bits, masks=None, top_down=False):
    width, height = random_side(rng, 200), random_side(rng, 200)
    stride = (width * bits + 31) // 32 * 4
    extra = struct.pack("<III", *masks) if masks else b""
    return bmp_file(width, -height if top_down else height, bits, 3 if masks else 0, b"", rng.randbytes(stride * height), extra)


def bmp_runs(rng, bits):
    """Run-length coded: runs, literals and line ends at random."""
    width, height = random_side(rng, 120), random_side(rng, 120)
    pixels = bytearray()
    for _ in range(height):
        x = 0
        while x < width:
            room = min(255, width - x)
            if rng.random() < 0.5 or room < 3:
                count = rng.randrange(1, room + 1)
                pixels += bytes((count, rng.randrange(256)))
            else:
                count = rng.randrange(3, room + 1)
                size = count if bits == 8 else (count + 1) // 2
                pixels += bytes((0, count)) + rng.randbytes(size) + b"\0" * (size % 2)
            x += count
        pixels += b"\0\0"
    pixels += b"\0\1"
    palette = b"".join(rng.randbytes(3) + b"\0" for _ in range(1 << bits))
    return bmp_file(width, height, bits, 1 if bits == 8 else 2, palette, bytes(pixels))


def bmp_saved(rng, mode):
    image = drawn(rng, random_side(rng), random_side(rng), mode if mode in ("L", "RGB", "RGBA") else "RGB")
    return saved(image.convert(mode), "BMP")


# --- GIF and WebP ---------------------------------------------------------------------------------------------------


def gif_saved(rng, colors=256, transparent=False, interlaced=True):
    image = drawn(rng, random_side(rng), random_side(rng)).quantize(colors)
    options = {"transparency": rng.randrange(colors)} if transparent else {}
    return saved(image, "GIF", interlace=int(interlaced), **options)


def gif_gray(rng):
    return saved(drawn(rng, random_side(rng), random_side(rng), "L"), "GIF")


def gif_missing_entries(rng, gray):
    """Indices outside the palette."""
    data = bytearray(gif_saved(rng))
    old_bits = (data[10] & 7) + 1
    at = 13 + (3 << old_bits)
    assert data[10] & 0x80 and data[at] in (0x21, 0x2C)
    bits = rng.randrange(1, old_bits + 1)
    data[10] = data[10] & ~7 | bits - 1
    palette = bytes(i for i in range(1 << bits) for _ in range(3)) if gray else rng.randbytes(3 << bits)
    return bytes(data[:13]) + palette + bytes(data[at:])


def gif_animated(rng):
    width, height = random_side(rng), random_side(rng)
    frames = [drawn(rng, width, height).quantize(64) for _ in range(3)]
    return saved(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=rng.randrange(4), loop=0)


def gif_inside_screen(rng, transparent):
    """A first frame that does not fill its screen."""
    data = bytearray(gif_saved(rng, 16, transparent, interlaced=rng.random() < 0.5))
    screen = struct.unpack_from("<HH", data, 6)
    right, down = rng.randrange(20), rng.randrange(20)
    at = 13 + (3 << ((data[10] & 7) + 1))
    while data[at] == 0x21:
        at += 2
        while data[at]:
            at += data[at] + 1
        at += 1
    assert data[at] == 0x2C
    struct.pack_into("<HH", data, at + 1, right, down)
    struct.pack_into("<HH", data, 6, screen[0] + right + rng.randrange(20), screen[1] + down + rng.randrange(20))
    return bytes(data)


def webp(rng, mode="RGB", **options):
    image = drawn(rng, random_side(rng), random_side(rng), mode)
    return saved(image, "WEBP", quality=rng.randrange(101), method=rng.randrange(5), **options)


def webp_animated(rng, mode="RGB", **options):
    width, height = random_side(rng), random_side(rng)
    frames = [drawn(rng, width, height, mode) for _ in range(3)]
    return saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], **options)


KINDS = {
    "jpeg_444": lambda rng: jpeg(rng, subsampling=0),
    "jpeg_422": lambda rng: jpeg(rng, subsampling=1),
    "jpeg_420": lambda rng: jpeg(rng, subsampling=2),
    "jpeg_440": lambda rng: jpeg_resampled(rng, 0x12, 1),
    "jpeg_411": lambda rng: jpeg_resampled(rng, 0x41, 2),
    "jpeg_optimized": lambda rng: jpeg(rng, optimize=True),
    "jpeg_progressive_444": lambda rng: jpeg(rng, progressive=True, subsampling=0),
    "jpeg_progressive_422": lambda rng: jpeg(rng, progressive=True, subsampling=1),
    "jpeg_progressive_420": lambda rng: jpeg(rng, progressive=True, subsampling=2),
    "jpeg_gray": lambda rng: jpeg(rng, "L"),
    "jpeg_gray_progressive": lambda rng: jpeg(rng, "L", progressive=True),
    "jpeg_rgb": lambda rng: jpeg(rng, keep_rgb=True),
    "jpeg_cmyk": lambda rng: jpeg(rng, "CMYK"),
    "jpeg_cmyk_progressive": lambda rng: jpeg(rng, "CMYK", progressive=True),
    "jpeg_ycck": lambda rng: jpeg_ycck(rng),
    "jpeg_exif_rotation": jpeg_exif,
    "png_1": lambda rng: saved(drawn(rng, random_side(rng), random_side(rng)).convert("1"), "PNG"),
    "png_l": lambda rng: png_saved(rng, "L"),
    "png_la": lambda rng: png_saved(rng, "LA"),
    "png_rgb": lambda rng: png_saved(rng, "RGB"),
    "png_rgba": lambda rng: png_saved(rng, "RGBA"),
    "png_palette_missing_entries": png_missing_entries,
    "png_unended": lambda rng: png_saved(rng, "RGB")[: -rng.randint(1, 12)],
    "bmp_saved_1": lambda rng: bmp_saved(rng, "1"),
    "bmp_saved_l": lambda rng: bmp_saved(rng, "L"),
    "bmp_saved_p": lambda rng: bmp_saved(rng, "P"),
    "bmp_saved_rgb": lambda rng: bmp_saved(rng, "RGB"),
    "bmp_saved_rgba": lambda rng: bmp_saved(rng, "RGBA"),
    "bmp_1": lambda rng: bmp_palette(rng, 1),
    "bmp_4": lambda rng: bmp_palette(rng, 4),
    "bmp_8": lambda rng: bmp_palette(rng, 8),
    "bmp_8_core": lambda rng: bmp_palette(rng, 8, core=True),
    "bmp_8_top_down": lambda rng: bmp_palette(rng, 8, top_down=True),
    "bmp_8_missing_entries": lambda rng: bmp_missing_entries(rng, False),
    "bmp_8_missing_entries_gray": lambda rng: bmp_missing_entries(rng, True),
    "bmp_16": lambda rng: bmp_color(rng, 16),
    "bmp_16_555": lambda rng: bmp_color(rng, 16, (0x7C00, 0x3E0, 0x1F)),
    "bmp_16_565": lambda rng: bmp_color(rng, 16, (0xF800, 0x7E0, 0x1F)),
    "bmp_24_top_down": lambda rng: bmp_color(rng, 24, top_down=True),
    "bmp_32": lambda rng: bmp_color(rng, 32),
    "bmp_32_xbgr": lambda rng: bmp_color(rng, 32, (0xFF000000, 0xFF0000, 0xFF00)),
    "bmp_32_bgrx": lambda rng: bmp_color(rng, 32, (0xFF0000, 0xFF00, 0xFF)),
    "bmp_rle8": lambda rng: bmp_runs(rng, 8),
    "bmp_rle4": lambda rng: bmp_runs(rng, 4),
    "gif": lambda rng: gif_saved(rng),
    "gif_few_colors": lambda rng: gif_saved(rng, rng.randrange(2, 20)),
    "gif_flat": lambda rng: gif_saved(rng, interlaced=False),
    "gif_transparent": lambda rng: gif_saved(rng, 32, transparent=True),
    "gif_gray": gif_gray,
    "gif_missing_entries": lambda rng: gif_missing_entries(rng, False),
    "gif_missing_entries_gray": lambda rng: gif_missing_entries(rng, True),
    "gif_animated": gif_animated,
    "gif_inside_screen": lambda rng: gif_inside_screen(rng, False),
    "gif_inside_screen_transparent": lambda rng: gif_inside_screen(rng, True),
    "webp_lossy": lambda rng: webp(rng),
    "webp_lossless": lambda rng: webp(rng, lossless=True),
    "webp_lossy_alpha": lambda rng: webp(rng, "RGBA"),
    "webp_lossless_alpha": lambda rng: webp(rng, "RGBA", lossless=True, exact=True),
    "webp_animated": lambda rng: webp_animated(rng),
    "webp_animated_alpha": lambda rng: webp_animated(rng, "RGBA", lossless=True),
}
for _format in ("JPEG", "PNG", "BMP", "GIF", "WEBP"):
    for _size in ((1, 1), (12000, 40), (40, 12000)):
        KINDS[f"{_format.lower()}_{_size[0]}x{_size[1]}"] = lambda rng, a=(_format, _size): saved(drawn(rng, *a[1]), a[0])
for _color, _depth in [(0, 1), (0, 2), (0, 4), (0, 8), (2, 8), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (6, 8)]:
    for _interlaced in (False, True):
        for _transparent in (False, True) if _color in (0, 2, 3) else (False,):
            _name = f"png_color{_color}_{_depth}bit" + "_interlaced" * _interlaced + "_trns" * _transparent
            KINDS[_name] = lambda rng, a=(_color, _depth, _interlaced, _transparent): png_raw(rng, *a)


def image_of(kind, seed):
    return KINDS[kind](random.Random(f"{kind}/{seed}"))

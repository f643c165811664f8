"""Makes data/: pictures of every kind of PNG, what Pillow reads and resizes them to (data.safetensors), and what CLIP's
tokenizer makes of some lines (tokens.txt). Needs pillow, numpy, safetensors, open_clip_torch. Run from this folder.

Pillow 13 began to shrink rows before columns where the height shrinks more than the width; here it is always columns
first, as all versions before did, so a resize is made in two calls."""
import os
import struct
import zlib

import ftfy
import numpy as np
from PIL import Image
from safetensors.numpy import save_file

os.makedirs("data", exist_ok=True)
random = np.random.default_rng(7)
out = {}


def picture(height, width):
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack([np.sin(x / 5 + y / 9), np.cos(x / 3 - y / 7), np.sin(x * y / 90)], -1)
    blocks = random.integers(0, 2, (height // 6 + 1, width // 6 + 1, 3)).repeat(6, 0).repeat(6, 1)[:height, :width]
    return np.clip(90 * waves + 128 + 80 * (blocks - 0.5) + random.normal(0, 9, waves.shape), 0, 255).astype(np.uint8)


def interlaced(grey):
    """Adam7, which Pillow does not write."""
    rows = b""
    for y0, x0, dy, dx in [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]:
        for row in grey[y0::dy, x0::dx]:
            rows += b"\0" + row.tobytes() if row.size else b""
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def resize(image, width, height):
    return image.resize((width, image.height), Image.BICUBIC).resize((width, height), Image.BICUBIC)


colour = Image.fromarray(picture(47, 61))
alpha = Image.fromarray(np.concatenate([picture(21, 33), random.integers(0, 256, (21, 33, 1)).astype(np.uint8)], -1))
colour.save("data/rgb.png")
alpha.save("data/rgba.png")
alpha.convert("LA").save("data/la.png")
colour.convert("L").resize((20, 15)).save("data/l.png")
colour.convert("1").save("data/bit.png")
colour.quantize(13).save("data/palette.png", bits=4, transparency=3)
wide = random.integers(0, 65536, (11, 13)).astype(np.uint16)
Image.fromarray(wide).save("data/wide.png")
with open("data/interlaced.png", "wb") as f:
    f.write(interlaced(picture(11, 13)[..., 0].copy()))

for name in ["rgb", "rgba", "la", "l", "bit", "palette", "interlaced"]:
    out["read." + name] = np.asarray(Image.open(f"data/{name}.png").convert("RGBA"))
high = (wide >> 8).astype(np.uint8)
out["read.wide"] = np.stack([high, high, high, np.full_like(high, 255)], -1)

for width, height in [(32, 32), (17, 90), (100, 7), (61, 20), (1, 1)]:
    out[f"resize.{width}x{height}"] = np.asarray(resize(colour, width, height))

for name, size in [("rgb", 32), ("rgb", 16), ("rgba", 24), ("l", 33), ("palette", 20)]:
    image = Image.open(f"data/{name}.png").convert("RGB")
    width, height = size * image.width // min(image.size), size * image.height // min(image.size)
    left, top = round((width - size) / 2), round((height - size) / 2)
    out[f"view.{name}.{size}"] = np.asarray(resize(image, width, height))[top:top + size, left:left + size]

save_file({k: np.ascontiguousarray(v) for k, v in out.items()}, "data/data.safetensors")

ftfy.fix_text = lambda text: text       # mending broken encodings is not asked of a tokenizer here
from open_clip.tokenizer import SimpleTokenizer

lines = """a diagram
a photo of a cat
a photo of a dog.
hello world!
It's 2021, isn't it?
itap of a tench.
Ünïcödé naïve café
a photo of the number: "7".

  spaces \t all   over  
I'LL they've WE'RE she'd I'm can't 'tis
&lt;b&gt; &amp;lt; caf&eacute; &#233;&#xE9 &copy2020 &notit; & &; &#0; &#150; &hellip;&nbsp;end
ΟΔΟΣ ΣΟΦΙΑΣ. İstanbul ĲSSEL Straße ẞ
Москва 東京 서울 القاهرة हिन्दी
½ ² ① Ⅷ ٣ 3.14159
😀👍🏽 👩‍🚀 flag: 🇩🇪 — “quotes” ‘single’ …
supercalifragilisticexpialidocious antidisestablishmentarianism pneumonoultramicroscopic
https://example.org/a_b?c=d&e=f#g user@example.org
_under_scored-and-hyphenated/slashed\\back
!!! ??? ... --- *** ###
x'ſ y""".split("\n")
lines.append("a very long caption " * 30)
tokenizer = SimpleTokenizer()
with open("data/tokens.txt", "w") as f:
    for line in lines:
        ids = [tokenizer.sot_token_id] + tokenizer.encode(line) + [tokenizer.eot_token_id]
        if len(ids) > 77:
            ids = ids[:76] + [tokenizer.eot_token_id]
        f.write(" ".join(map(str, ids)) + "|" + line + "\n")

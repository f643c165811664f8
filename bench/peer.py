"""PyTorch's side of the table: the training step of bench.c with OpenCLIP's model and loss.

    peer.py CONFIG eager|compile STEPS        prints one line as bench does, without the last column
"""
import os
import resource
import statistics
import sys
import time

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP

# pairs, embed, (image, patch, width, layers, head width; of a ResNet no patch), (context, vocabulary, width, heads, layers)
WORKLOADS = {
    'demo': (128, 128, (32, 4, 128, 4, 32), (16, 2048, 128, 4, 3)),
    'demo192': (128, 128, (32, 4, 192, 6, 64), (16, 2048, 128, 4, 3)),
    'tiny8m': (16, 512, (224, 16, 256, 10, 64), (77, 49408, 256, 4, 3)),
    'vitb32': (16, 512, (224, 32, 768, 12, 64), (77, 49408, 512, 8, 12)),
    'rn50': (8, 1024, (224, None, 64, (3, 4, 6, 3), 64), (77, 49408, 512, 8, 12)),
}
VISION = ('image_size', 'patch_size', 'width', 'layers', 'head_width')
TEXT = ('context_length', 'vocab_size', 'width', 'heads', 'layers')


def main(name, mode, steps):
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    torch.manual_seed(0)
    pairs, embed, vision, text = WORKLOADS[name]
    model = CLIP(embed, dict(zip(VISION, vision)), dict(zip(TEXT, text)), quick_gelu=True).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    towers = torch.compile(model) if mode == 'compile' else model
    contrastive = ClipLoss()
    pixels = torch.randn(pairs, 3, vision[0], vision[0])
    ids = torch.randint(1, text[1] - 1, (pairs, text[0]))
    ids[:, -1] = text[1] - 1

    def step():
        optimizer.zero_grad(set_to_none=True)
        image, text, scale = towers(pixels, ids)
        contrastive(image, text, scale).backward()
        optimizer.step()

    step()
    step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    median = statistics.median_high(times)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    figures = f'{min(times):.1f}\t{median:.1f}\t{1e3 * pairs / median:.1f}\t{peak}'
    print(f'{name}\t{mode}\t{figures}', flush=True)


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

"""PyTorch's side of the table: the training step of bench.c with OpenCLIP's model and loss.

    peer.py [--device cuda] [--precision bf16] CONFIG eager|compile STEPS

prints one line as bench does, without shares and flops. On a device the peak is what PyTorch has taken, beside what
its tensors needed at once; bf16 is autocast, and weights and AdamW stay f32, as ours.
"""
import argparse
import contextlib
import os
import resource
import statistics
import time

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP

# pairs, on a device, embed, (image, patch, width, layers, head width; of a ResNet no patch), (context, vocabulary, width, heads, layers)
WORKLOADS = {
    'demo': (128, 128, 128, (32, 4, 128, 4, 32), (16, 2048, 128, 4, 3)),
    'demo192': (128, 128, 128, (32, 4, 192, 6, 64), (16, 2048, 128, 4, 3)),
    'tiny8m': (16, 1024, 512, (224, 16, 256, 10, 64), (77, 49408, 256, 4, 3)),
    'vitb32': (16, 1024, 512, (224, 32, 768, 12, 64), (77, 49408, 512, 8, 12)),
    'vitb16': (8, 512, 512, (224, 16, 768, 12, 64), (77, 49408, 512, 8, 12)),
    'rn50': (8, 256, 1024, (224, None, 64, (3, 4, 6, 3), 64), (77, 49408, 512, 8, 12)),
    'try': (4, 4, 32, (16, 8, 32, 2, 16), (12, 640, 32, 2, 2)),
}
VISION = ('image_size', 'patch_size', 'width', 'layers', 'head_width')
TEXT = ('context_length', 'vocab_size', 'width', 'heads', 'layers')


def main(name, mode, steps, device, bf16):
    torch.set_num_threads(int(os.environ['OMP_NUM_THREADS']))
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    on_cpu = device == 'cpu'
    pairs, pairs_on_device, embed, vision, text = WORKLOADS[name]
    if not on_cpu:
        pairs = pairs_on_device
    model = CLIP(embed, dict(zip(VISION, vision)), dict(zip(TEXT, text)), quick_gelu=True).train().to(device)
    pixels = torch.randn(pairs, 3, vision[0], vision[0], device=device)
    ids = torch.randint(1, text[1] - 1, (pairs, text[0]), device=device)
    ids[:, -1] = text[1] - 1
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    towers = torch.compile(model) if mode == 'compile' else model
    contrastive = ClipLoss()
    rounded = torch.autocast(device, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()

    def step():
        optimizer.zero_grad(set_to_none=True)
        with rounded:
            image, text, scale = towers(pixels, ids)
            loss = contrastive(image, text, scale)
        loss.backward()
        optimizer.step()
        loss.item()  # a device may be late

    step()
    step()
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    median = statistics.median_high(times)
    figures = f'{min(times):.1f}\t{median:.1f}\t{1e3 * pairs / median:.1f}'
    if on_cpu:
        memory = f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}'
    else:
        memory = f'{torch.cuda.max_memory_reserved() >> 20}\t-\t{torch.cuda.max_memory_allocated() >> 20}'
    print(f'{name}\t{mode}{"-bf16" if bf16 else ""}\t{figures}\t{memory}', flush=True)


if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--precision', choices=['f32', 'bf16'], default='f32')
    parser.add_argument('config', choices=WORKLOADS)
    parser.add_argument('mode', choices=['eager', 'compile'])
    parser.add_argument('steps', type=int)
    given = parser.parse_args()
    main(given.config, given.mode, given.steps, given.device, given.precision == 'bf16')

"""Writes the golden tensors of a small CLIP with a ModifiedResNet: what OpenCLIP and PyTorch compute.

README.md names the contents.

    python tests/golden/make_resnet.py          # torch 2.15, open_clip 3.3.0; writes beside itself
"""
import torch

from make_clip import VOCABULARY, write, written_by_openclip

CONFIG = dict(
    embed_dim=6,
    vision_cfg=dict(image_size=64, layers=[1, 2, 1, 1], width=2, head_width=32),
    text_cfg=dict(context_length=4, vocab_size=VOCABULARY, width=4, heads=2, layers=1))


def sines(step, *shape):
    """Inputs by a formula, which the test knows too."""
    count = torch.Size(shape).numel()
    return torch.sin(step * torch.arange(count, dtype=torch.float64)).reshape(shape)


def figures(model, prefix):
    """Running figures."""
    return {prefix + name: b.clone() for name, b in model.named_buffers() if 'running' in name or 'batches' in name}


def stir(model):
    """Figures and gains as after some training: the last norm of a block begins with a gain of 0."""
    generator = torch.Generator().manual_seed(12)
    with torch.no_grad():
        for name, b in model.named_buffers():
            if 'mean' in name:
                b += 0.2 * torch.randn(b.shape, generator=generator)
            elif 'var' in name:
                b += torch.rand(b.shape, generator=generator) - 0.5
            elif 'batches' in name:
                b += 3


if __name__ == '__main__':
    torch.set_num_threads(1)
    model = written_by_openclip('openclip-resnet', CONFIG, 2.4, 11, stir)
    visual = model.visual
    pixels, second = sines(0.37, 3, 3, 64, 64), sines(0.53, 3, 3, 64, 64)
    tensors = dict(evaluated=visual.eval()(pixels))
    trained = visual.train()(pixels)
    tensors |= dict(trained=trained) | figures(model, 'once.')
    (trained * sines(1.0, 3, 6)).sum().backward()
    tensors |= {'grad.visual.' + name: p.grad for name, p in visual.named_parameters()}
    visual(second)
    tensors |= figures(model, 'twice.')
    write('resnet.safetensors', {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})

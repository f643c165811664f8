"""Writes the golden tensors of a small CLIP: what OpenCLIP and PyTorch compute in float64.

README.md names the contents.

    pip install torch open_clip_torch safetensors        # written with torch 2.15, open_clip 3.3.0
    python tests/golden/make_clip.py                      # writes beside itself, the same values every time
"""
import json
import math
import tempfile
from pathlib import Path

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from open_clip.push_to_hf_hub import save_for_hf
from safetensors.torch import save_file

HERE = Path(__file__).parent
PAIRS, CONTEXT, VOCABULARY = 6, 8, 40
STUDENT = dict(
    embed_dim=12,
    vision_cfg=dict(image_size=16, patch_size=4, width=16, layers=2, head_width=8, mlp_ratio=2.0),
    text_cfg=dict(context_length=CONTEXT, vocab_size=VOCABULARY, width=12, heads=3, layers=2, mlp_ratio=2.0))
TEACHER = dict(
    embed_dim=10,
    vision_cfg=dict(image_size=16, patch_size=8, width=12, layers=1, head_width=4),
    text_cfg=dict(context_length=CONTEXT, vocab_size=VOCABULARY, width=8, heads=2, layers=1))


def shake(model, scale, generator):
    """OpenCLIP starts with zero biases and unit gains: moved away from there, so that a mix-up shows."""
    with torch.no_grad():
        for p in model.parameters():
            p += 0.15 * torch.randn(p.shape, generator=generator, dtype=torch.float64).to(p.dtype)
        model.logit_scale.fill_(scale)
    return model


def make_inputs(generator):
    """Captions from 2 ids (start, end) to the whole context; the end has the largest id; 0 pads."""
    pixels = torch.randn(PAIRS, 3, 16, 16, generator=generator, dtype=torch.float64)
    ids = torch.zeros(PAIRS, CONTEXT, dtype=torch.int64)
    for row, length in enumerate((5, 8, 2, 3, 6, 4)):
        ids[row, 0] = VOCABULARY - 2
        ids[row, 1:length - 1] = torch.randint(1, VOCABULARY - 2, (length - 2,), generator=generator)
        ids[row, length - 1] = VOCABULARY - 1
    return pixels, ids


def infonce(model, pixels, ids):
    image, text, scale = model(pixels, ids)
    return ClipLoss()(image, text, scale)


def affinity(model, pixels, ids, teacher, scale=None):
    """TinyCLIP's affinity mimicking (Wu et al., ICCV 2023); `scale` takes the place of both models' own."""
    image, text, own = model(pixels, ids)
    with torch.no_grad():
        teacher_image, teacher_text, teacher_own = teacher(pixels, ids)
    student = (scale or own) * image @ text.T
    target = (scale or teacher_own) * teacher_image @ teacher_text.T
    return 0.5 * (F.cross_entropy(student, target.softmax(1))
                  + F.cross_entropy(student.T, target.T.softmax(1)))


def outputs(model, pixels, ids):
    with torch.no_grad():
        image, text, scale = model(pixels, ids)
        return dict(image_embeds=image, text_embeds=text, logits_per_image=scale * image @ text.T)


def gradients(model, loss):
    model.zero_grad(set_to_none=True)
    loss.backward()
    grads = {'grad.' + name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
             for name, p in model.named_parameters()}
    return dict(loss=loss.detach(), **grads)


def ten_steps(model, loss):
    """AdamW as CLIP is trained; matrices decay, embeddings of positions and class do not."""
    decays = {True: [], False: []}
    for name, p in model.named_parameters():
        decays[p.ndim >= 2 and 'positional' not in name and 'class' not in name].append(p)
    groups = [dict(params=decays[True], weight_decay=0.2), dict(params=decays[False], weight_decay=0.0)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), eps=1e-6)
    losses = []
    for _ in range(10):
        optimizer.zero_grad(set_to_none=True)
        value = loss(model)
        value.backward()
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        losses.append(value.detach())
    after = {'after.' + name: p.detach() for name, p in model.named_parameters()}
    return dict(step_losses=torch.stack(losses), **after)


def write(name, tensors):
    tensors = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
    save_file(tensors, HERE / name, metadata={'format': 'pt'})
    print(f'{name:32} {(HERE / name).stat().st_size / 1024:6.0f} KB')


def float64():
    generator = torch.Generator().manual_seed(1)
    pixels, ids = make_inputs(generator)

    def student(quick_gelu=False):
        torch.manual_seed(2)
        model = CLIP(**STUDENT, quick_gelu=quick_gelu).double()
        return shake(model, 2.5, torch.Generator().manual_seed(3))

    torch.manual_seed(4)
    teacher = shake(CLIP(**TEACHER).double(), 3.0, torch.Generator().manual_seed(5)).eval()
    write('inputs.safetensors', dict(pixel_values=pixels, input_ids=ids))
    write('student.safetensors', student().state_dict())
    write('teacher.safetensors', teacher.state_dict())
    for name, quick, steps, loss in (
            ('infonce', False, True, lambda m: infonce(m, pixels, ids)),
            ('affinity', False, True, lambda m: affinity(m, pixels, ids, teacher)),
            ('affinity50', False, False, lambda m: affinity(m, pixels, ids, teacher, 50.0)),
            ('quick_gelu', True, False, lambda m: infonce(m, pixels, ids))):
        model = student(quick)
        tensors = outputs(model, pixels, ids) | gradients(model, loss(model))
        if steps:
            tensors |= ten_steps(model, loss)
        if name == 'affinity':
            tensors |= {'teacher.' + k: v for k, v in outputs(teacher, pixels, ids).items()}
        write(name + '.safetensors', tensors)


def pooling():
    """The student's weights, but with the mean of the patches for a picture, and without a causal mask. OpenCLIP then lets
    padding be seen, too: so every caption fills the context."""
    pixels, _ = make_inputs(torch.Generator().manual_seed(1))
    ids = torch.randint(1, VOCABULARY - 2, (PAIRS, CONTEXT), generator=torch.Generator().manual_seed(8))
    ids[:, 0], ids[:, -1] = VOCABULARY - 2, VOCABULARY - 1
    torch.manual_seed(2)
    config = dict(STUDENT, vision_cfg=dict(STUDENT['vision_cfg'], pool_type='avg'),
                  text_cfg=dict(STUDENT['text_cfg'], no_causal_mask=True))
    model = shake(CLIP(**config).double(), 2.5, torch.Generator().manual_seed(3))
    write('pooling.safetensors', dict(input_ids=ids) | outputs(model, pixels, ids)
          | gradients(model, infonce(model, pixels, ids)))


class NoTokenizer:
    def save_pretrained(self, directory):
        pass


def written_by_openclip(name, config, scale, seed, change=None):
    """The directory that OpenCLIP's own code makes of a model that its own factory made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / (name + '.json')
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
    torch.manual_seed(seed)
    model = shake(open_clip.create_model(name), scale, torch.Generator().manual_seed(seed + 1))
    if change:
        change(model)
    save_for_hf(model, NoTokenizer(), open_clip.get_model_config(name), HERE / name, safe_serialization=True)
    print(f'{name}/')
    return model.double()


def openclip():
    """Weights and inputs are float32; what comes out is computed in float64, stored as float32."""
    pixels, ids = make_inputs(torch.Generator().manual_seed(6))
    pixels = pixels.float()
    write('openclip-in.safetensors', dict(pixel_values=pixels, input_ids=ids))
    pixels = pixels.double()
    model = written_by_openclip('openclip', STUDENT | dict(quick_gelu=True), 2.6, 7)
    teacher = written_by_openclip('openclip-teacher', TEACHER, 3.1, 9).eval()
    tensors = outputs(model, pixels, ids)
    for name, loss in (('infonce', infonce(model, pixels, ids)),
                       ('affinity', affinity(model, pixels, ids, teacher))):
        tensors |= {f'{name}.{k}': v for k, v in gradients(model, loss).items()}
    write('openclip-out.safetensors', {k: v.float() for k, v in tensors.items()})


if __name__ == '__main__':
    torch.set_num_threads(1)
    float64()
    pooling()
    openclip()

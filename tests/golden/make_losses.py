"""Writes golden tensors of losses, of blocks without a skip and of masked ones: PyTorch in float64, from the papers' formulas alone.

    pip install torch safetensors                         # written with torch 2.15
    python tests/golden/make_losses.py                    # writes beside itself, the same values every time
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = Path(__file__).parent
B, D = 6, 5
generator = torch.Generator().manual_seed(3)


def random(*shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


# ---- losses ------------------------------------------------------------------------------------------

def both_ways(loss):
    """The mean of pictures to captions and captions to pictures."""
    return (loss(False) + loss(True)) / 2


def logits_of(image, text, scale, turned):
    return scale * (text @ image.T if turned else image @ text.T)


def soft(student, p):
    return -(p * F.log_softmax(student, 1)).sum(1).mean()


def affinity(x, mean_logits=False):
    def one_way(turned):
        y = logits_of(x['u'], x['v'], x['scale'], turned)
        z = [logits_of(*t, turned) for t in x['teachers']]
        p = sum(z).div(len(z)).softmax(1) if mean_logits else sum(t.softmax(1) for t in z) / len(z)
        return soft(y, p)
    return both_ways(one_way)


def relational(x):
    def one_way(turned):
        y = logits_of(x['u'], x['v'], x['scale'], turned)
        z = [logits_of(*t, turned) for t in x['teachers']]
        return sum(F.kl_div(F.log_softmax(y, 1), t.softmax(1), reduction='batchmean') for t in z) / len(z)
    return both_ways(one_way)


def clip(x):
    own = torch.arange(B)
    return both_ways(lambda turned: F.cross_entropy(logits_of(x['u'], x['v'], x['scale'], turned), own))


def feature(x):
    u, v, _ = x['teachers'][0]
    return F.mse_loss(x['u'], u) + F.mse_loss(x['v'], v)


def pair(x):
    """Binary cross-entropy of B pairs and, of each picture and caption, one with the next row's."""
    u, v = x['u'], x['v']
    right = torch.cat([torch.ones(B), torch.zeros(2 * B)]).double()
    product = torch.cat([u * v, u * v.roll(-1, 0), u.roll(-1, 0) * v])
    return F.binary_cross_entropy_with_logits(product.sum(1) - 0.2, right)


def losses():
    out, rows = {}, dict(image=random(B, D).requires_grad_(), text=random(B, D).requires_grad_())
    teachers = []
    for k, width in enumerate((D, 7)):
        u, v = F.normalize(random(B, width)), F.normalize(random(B, width))
        out.update({f'teachers.{k}.image': u, f'teachers.{k}.text': v})
        teachers.append((u, v, 3.0 + 4 * k))
    everyone = dict(affinity=affinity, relational=relational, clip=clip, feature=feature)
    everyone['affinity:logits=1'] = lambda x: affinity(x, True)
    everyone['pair:shift=1'] = pair
    for name, loss in everyone.items():
        x = dict(u=F.normalize(rows['image']), v=F.normalize(rows['text']), scale=6.0, teachers=teachers)
        value = loss(x)
        image, text = torch.autograd.grad(value, (rows['image'], rows['text']))
        out.update({f'{name}.loss': value, f'{name}.grad.image': image, f'{name}.grad.text': text})
    out.update(rows)
    return out


# ---- blocks ------------------------------------------------------------------------------------------

WIDTH, HEADS, FFN, PICTURES, TOKENS = 12, 3, 20, 2, 5


def block(x, p, sas_p, causal):
    """One picture or caption (T, D), with the matrix A~ = alpha I + beta A - gamma C of each head written out."""
    T, d = len(x), WIDTH // HEADS
    mask = torch.zeros(T, T).double()
    if causal:
        mask = mask.masked_fill(torch.ones(T, T).triu(1).bool(), -torch.inf)
    n = F.layer_norm(x, (WIDTH,), p['ln_1.weight'], p['ln_1.bias'])
    q = F.linear(n, p['attn.q_proj.weight'], p['attn.q_proj.bias'])
    k = F.linear(n, p['attn.k_proj.weight'], p['attn.k_proj.bias'])
    heads = []
    for h in range(HEADS):
        part = slice(h * d, (h + 1) * d)
        a = (q[:, part] @ k[:, part].T / d ** 0.5 + mask).softmax(1)
        alpha, beta, gamma = p['attn.gains'][:, h, 0]
        heads.append((alpha * torch.eye(T).double() + beta * a - gamma * mask.softmax(1)) @ n[:, part])
    y = p['attn.gain'] * torch.cat(heads, 1)
    to = n if sas_p else F.layer_norm(y, (WIDTH,), p['ln_2.weight'], p['ln_2.bias'])
    ffn = F.linear(F.gelu(F.linear(to, p['mlp.c_fc.weight'], p['mlp.c_fc.bias'])), p['mlp.c_proj.weight'], p['mlp.c_proj.bias'])
    return (y if sas_p else p['mlp.skip_gain'] * y) + p['mlp.gain'] * ffn


def blocks():
    shapes = {'ln_1.weight': (WIDTH,), 'ln_1.bias': (WIDTH,), 'ln_2.weight': (WIDTH,), 'ln_2.bias': (WIDTH,),
              'attn.q_proj.weight': (WIDTH, WIDTH), 'attn.q_proj.bias': (WIDTH,), 'attn.k_proj.weight': (WIDTH, WIDTH),
              'attn.k_proj.bias': (WIDTH,), 'attn.gains': (3, HEADS, 1), 'attn.gain': (1,), 'mlp.gain': (1,), 'mlp.skip_gain': (1,),
              'mlp.c_fc.weight': (FFN, WIDTH), 'mlp.c_fc.bias': (FFN,), 'mlp.c_proj.weight': (WIDTH, FFN), 'mlp.c_proj.bias': (WIDTH,)}
    p = {name: (0.3 * random(*shape)).requires_grad_() for name, shape in shapes.items()}
    x = random(PICTURES * TOKENS, WIDTH).requires_grad_()
    cotangent = random(PICTURES * TOKENS, WIDTH)
    out = dict(p, x=x, cotangent=cotangent)
    for name, sas_p in (('sas_p', True), ('sas', False)):
        for causal in (False, True):
            y = torch.cat([block(part, p, sas_p, causal) for part in x.split(TOKENS)])
            used = {k: t for k, t in dict(p, x=x).items() if not (sas_p and (k.startswith('ln_2') or 'skip' in k))}
            gradients = torch.autograd.grad((y * cotangent).sum(), list(used.values()))
            kind = name + ('_causal' if causal else '')
            out[f'{kind}.y'] = y
            out.update({f'{kind}.grad.{k}': g for k, g in zip(used, gradients)})
    return out


# ---- masks -------------------------------------------------------------------------------------------

def norm_of_kept(x, weight, bias, hidden):
    """Mean and variance of the channels whose mask is not 0; 0 in the others."""
    kept = hidden != 0
    y = torch.zeros_like(x)
    y[:, kept] = F.layer_norm(x[:, kept], (int(kept.sum()),), weight[kept], bias[kept])
    return y


def masked_block(x, p, z, layer):
    """A pre-norm block as TinyCLIP masks it: what heads, units and branches put out is multiplied, not weights."""
    T, d = len(x), WIDTH // HEADS
    name = f'transformer.resblocks.{layer}.'
    n = norm_of_kept(x, p[name + 'ln_1.weight'], p[name + 'ln_1.bias'], z['hidden'])
    q, k, v = F.linear(n, p[name + 'attn.in_proj_weight'], p[name + 'attn.in_proj_bias']).view(T, 3, HEADS, d).permute(1, 2, 0, 3)
    heads = (q @ k.transpose(1, 2) / d ** 0.5).softmax(2) @ v * z[f'heads.{layer}'].view(HEADS, 1, 1)
    y = F.linear(heads.permute(1, 0, 2).reshape(T, WIDTH), p[name + 'attn.out_proj.weight'], p[name + 'attn.out_proj.bias'])
    x = x + y * z['hidden']
    n = norm_of_kept(x, p[name + 'ln_2.weight'], p[name + 'ln_2.bias'], z['hidden'])
    units = F.gelu(F.linear(n, p[name + 'mlp.c_fc.weight'], p[name + 'mlp.c_fc.bias'])) * z[f'ffn.{layer}']
    return x + F.linear(units, p[name + 'mlp.c_proj.weight'], p[name + 'mlp.c_proj.bias']) * z['hidden']


def masks():
    shapes = {'ln_1.weight': (WIDTH,), 'ln_1.bias': (WIDTH,), 'ln_2.weight': (WIDTH,), 'ln_2.bias': (WIDTH,),
              'attn.in_proj_weight': (3 * WIDTH, WIDTH), 'attn.in_proj_bias': (3 * WIDTH,), 'attn.out_proj.weight': (WIDTH, WIDTH),
              'attn.out_proj.bias': (WIDTH,), 'mlp.c_fc.weight': (FFN, WIDTH), 'mlp.c_fc.bias': (FFN,),
              'mlp.c_proj.weight': (WIDTH, FFN), 'mlp.c_proj.bias': (WIDTH,)}
    p = {f'transformer.resblocks.{i}.{name}': (0.4 * random(*shape)).requires_grad_() for i in range(2) for name, shape in shapes.items()}
    z = {'hidden': random(WIDTH)}
    z.update({f'{what}.{i}': random(n) for i in range(2) for what, n in (('heads', HEADS), ('ffn', FFN))})
    z = {name: (1.2 * t.sigmoid() - 0.3).clamp(0, 1).requires_grad_() for name, t in z.items()}
    x = random(PICTURES * TOKENS, WIDTH) * (z['hidden'] != 0).detach()
    cotangent = random(PICTURES, WIDTH)
    rows = []
    for picture in x.split(TOKENS):
        for layer in range(2):
            picture = masked_block(picture, p, z, layer)
        rows.append(picture[0])
    y = torch.stack(rows)
    everything = {**p, **{'z.' + name: t for name, t in z.items()}}
    gradients = torch.autograd.grad((y * cotangent).sum(), list(everything.values()))
    out = dict(everything, x=x, cotangent=cotangent)
    out['masked.y'] = y
    out.update({f'masked.grad.{k}': g for k, g in zip(everything, gradients)})
    return out


# ---- clusters ----------------------------------------------------------------------------------------

WIDE, CLUSTERS, LABELS = 7, 9, torch.tensor([4, 0, 8, 4, -1, 2])


def arcface(c, m, exact):
    """The map of the own class's cosine; taken for the identity by autograd, as in UNICOM's code, or not."""
    if exact:
        return (c.clamp(-1 + 1e-4, 1 - 1e-4).acos() + m).cos()
    return c + ((c.detach().acos() + m).cos() - c.detach())


def cluster(x, softmax=1.0, kl=1.0, scale=32.0, tau=None, teacher_tau=None, margin=None, frozen=False, shared=False):
    s = F.normalize(F.linear(x['image'], x['weight'], x['bias']))
    c = F.normalize(x['centroids'])
    w = c if frozen else F.normalize(c + x['classes'])
    has = LABELS >= 0
    y, cosine = LABELS[has], (s @ w.T)[has]
    logits = cosine.clone()
    if margin:
        own = F.one_hot(y, CLUSTERS).bool()
        logits[own] = margin(cosine[own])
    target = (x['teacher'] @ (w.detach() if shared else c).T)[has] / (teacher_tau or 1 / scale)
    student = F.log_softmax(cosine / (tau or 1 / scale), 1)
    return softmax * F.cross_entropy(scale * logits, y) + kl * F.kl_div(student, target.softmax(1), reduction='batchmean')


def instance(x, scale=None, together=0.5):
    a = scale or x['t'].exp()
    own = torch.arange(B)

    def both_ways(student, teacher):
        return (F.cross_entropy(a * student @ teacher.T, own) + F.cross_entropy(a * teacher @ student.T, own)) / 2
    image = F.normalize(F.linear(x['image'], x['weight'], x['bias']))
    text = F.normalize(F.linear(x['text'], x['text_weight'], x['text_bias']))
    return together * (both_ways(image, x['teacher']) + both_ways(text, x['teacher_text']))


def clusters():
    x = dict(image=random(B, D), text=random(B, D), weight=random(WIDE, D), bias=random(WIDE), text_weight=random(WIDE, D),
             text_bias=random(WIDE), classes=0.5 * random(CLUSTERS, WIDE), t=torch.tensor(2.0).double())
    trained = list(x)
    for t in x.values():
        t.requires_grad_()
    x.update(centroids=random(CLUSTERS, WIDE), teacher=F.normalize(random(B, WIDE)), teacher_text=F.normalize(random(B, WIDE)))
    everyone = {
        'cluster': cluster,
        'cluster:softmax=0.5,kl=2': lambda x: cluster(x, softmax=0.5, kl=2),
        'cluster:margin=0.3': lambda x: cluster(x, margin=lambda c: arcface(c, 0.3, False)),
        'cluster:margin=0.3,true=1': lambda x: cluster(x, margin=lambda c: arcface(c, 0.3, True)),
        'cluster:cosface=0.2,scale=16': lambda x: cluster(x, scale=16, margin=lambda c: c - 0.2),
        'cluster:tau=0.1,teacher_tau=0.05': lambda x: cluster(x, tau=0.1, teacher_tau=0.05),
        'cluster:frozen=1': lambda x: cluster(x, frozen=True),
        'cluster:shared=1': lambda x: cluster(x, shared=True),
        'instance': instance,
        'instance:sum=1': lambda x: instance(x, together=1.0),
        'instance:scale=6': lambda x: instance(x, scale=6.0),
    }
    out = dict(x)
    for name, loss in everyone.items():
        value = loss(x)
        gradients = torch.autograd.grad(value, [x[k] for k in trained], allow_unused=True)
        out[f'{name}.loss'] = value
        out.update({f'{name}.grad.{k}': g for k, g in zip(trained, gradients) if g is not None})
    return out


# ---- SLIP --------------------------------------------------------------------------------------------

FEATURES, HIDDEN, OUT = 4, 8, 5


def slip_head(x, p):
    for k in range(2):
        x = F.linear(x, p[f'{k}.weight'], p[f'{k}.bias'])
        x = F.relu(F.batch_norm(x, None, None, p[f'{k}.gain'], p[f'{k}.shift'], training=True))
    return F.normalize(F.linear(x, p['2.weight'], p['2.bias']))


def nt_xent(a, b):
    """SimCLR's loss over the 2 B views together: row i's other view among all rows but itself."""
    z = torch.cat([a, b])
    similarity = (z @ z.T / 0.1).masked_fill(torch.eye(2 * B).bool(), -torch.inf)
    return F.cross_entropy(similarity, torch.arange(2 * B).roll(B))


def slip():
    shapes = {'0.weight': (HIDDEN, FEATURES), '1.weight': (HIDDEN, HIDDEN), '2.weight': (OUT, HIDDEN), '2.bias': (OUT,)}
    shapes.update({f'{k}.{name}': (HIDDEN,) for k in range(2) for name in ('bias', 'gain', 'shift')})
    p = {f'loss.slip.{name}': random(*shape).requires_grad_() for name, shape in shapes.items()}
    x = dict(p, features=random(B, FEATURES), second=random(B, FEATURES), projection=random(FEATURES, D), text=random(B, D))
    x = {name: t.detach().requires_grad_() for name, t in x.items()}
    weights = {name[len('loss.slip.'):]: t for name, t in x.items() if name in p}
    u, v = F.normalize(x['features'] @ x['projection']), F.normalize(x['text'])
    terms = {'clip': clip(dict(u=u, v=v, scale=6.0)), 'slip': nt_xent(slip_head(x['features'], weights), slip_head(x['second'], weights))}
    terms['clip+0.7*slip'] = terms['clip'] + 0.7 * terms['slip']
    out = dict(x)
    for name, loss in terms.items():
        gradients = torch.autograd.grad(loss, list(x.values()), retain_graph=True, materialize_grads=True)
        out[f'{name}.loss'] = loss
        out.update({f'{name}.grad.{k}': g for k, g in zip(x, gradients)})
    return out


for name, tensors in (('losses', losses()), ('blocks', blocks()), ('masks', masks()), ('clusters', clusters()), ('slip', slip())):
    save_file({k: t.detach().contiguous() for k, t in tensors.items()}, HERE / f'{name}.safetensors')

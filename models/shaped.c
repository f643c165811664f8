/* shaped.c: blocks without a skip connection around attention, SAS and SAS-P (He and Hofmann,
 * Simplifying Transformer Blocks, ICLR 2024). Attention has neither values nor an output
 * projection; of each head it is, with trained numbers alpha, beta and gamma (their eq. 5),
 *
 *     A~ = alpha I + beta A - gamma C
 *     SAS-P:  y = b1 A~ n + b2 MLP(n),              n = norm(x)               (eq. 7)
 *     SAS:    y = a h + b2 MLP(norm(h)),            h = b1 A~ norm(x)
 *
 * C is what A would be if all queries were zero, so C n is the mean of the tokens that a token
 * sees, and no matrix is needed. Queries do begin as zero, and all numbers as 1 but b2, which is
 * small: at first A~ n is n, so that a signal passes through many blocks unharmed. */
#include "parts.h"

static const clip_initial shaped_initial = { .c_fc = 0.02, .c_proj = 0.02, .zero_bias = true };

clip_query_key clip_query_key_new(pith_graph *g, int width)
{
    clip_query_key p;
    pith_scope(g, "attn");
    p.query = pith_param(g, "q_proj.weight", PITH_CONSTANT, 0, width, width);
    p.query_bias = pith_param(g, "q_proj.bias", PITH_CONSTANT, 0, width);
    p.key = pith_param(g, "k_proj.weight", PITH_NORMAL, 0.02, width, width);
    p.key_bias = pith_param(g, "k_proj.bias", PITH_CONSTANT, 0, width);
    pith_unscope(g);
    return p;
}

/* C n: the mean of the tokens so far, (N, D); or, where every token sees all of its picture,
 * (S, D). */
static pith_node *mean_seen(pith_node *n, pith_node *offsets, bool causal)
{
    const int N = n->dim[0], D = n->dim[1], S = offsets->dim[0] - 1;
    if (!causal) return pith_mean(pith_reshape(n, S, N / S, D), 1);
    pith_node *one = pith_const(n->graph, 1);
    pith_node *seen = pith_running_sum(pith_expand(one, N, 1), offsets); /* 0 where padding is */
    return pith_div(pith_running_sum(n, offsets), pith_maximum(seen, one));
}

/* A~ n of all tokens, (N, D), or of those in `rows`, (S, D). */
static pith_node *shaped_attention(pith_graph *g, const clip_tower *t, int heads,
                                   const clip_query_key *p, pith_node *n, pith_node *offsets,
                                   pith_node *rows, bool causal)
{
    const int N = n->dim[0], S = offsets->dim[0] - 1, H = heads, d = t->head_width, D = H * d;
    pith_node *own = rows ? pith_gather(n, rows) : n, *mean = mean_seen(n, offsets, causal), *mixed;
    pith_node *query = pith_linear(own, p->query, p->query_bias),
              *key = pith_linear(n, p->key, p->key_bias);
    if (rows) {
        pith_node *kv[] = { pith_reshape(key, N, 1, H, d), pith_reshape(n, N, 1, H, d) };
        mixed = pith_pooled_attention(pith_reshape(query, S, H, d), pith_concat(2, kv, 1), offsets);
        if (causal) mean = pith_gather(mean, rows);
    } else {
        pith_node *qkv[] = { pith_reshape(query, N, 1, H, d), pith_reshape(key, N, 1, H, d),
                             pith_reshape(n, N, 1, H, d) };
        mixed = pith_attention(pith_concat(3, qkv, 1), offsets, causal);
    }
    pith_node *gains = pith_no_weight_decay(pith_param(g, "attn.gains", PITH_CONSTANT, 1, 3, H, 1));
    pith_node *alpha = pith_slice(gains, 0, 0, 1), *beta = pith_slice(gains, 0, 1, 2),
              *gamma = pith_slice(gains, 0, 2, 3); /* (1, H, 1) */
    /* pictures (S, T, H, d) whose tokens share a mean (S, 1, H, d); else tokens (M, 1, H, d) */
    const bool share = !rows && !causal;
    const int M = share ? S : own->dim[0], T = share ? N / S : 1;
    pith_node *y = pith_add(pith_mul(alpha, pith_reshape(own, M, T, H, d)),
                            pith_mul(beta, pith_reshape(mixed, M, T, H, d)));
    y = pith_sub(y, pith_mul(gamma, pith_reshape(mean, M, 1, H, d)));
    return pith_reshape(y, M * T, D);
}

pith_node *clip_shaped_block(pith_graph *g, const clip_tower *t, int layer, bool quick_gelu,
                             const clip_query_key *shared, pith_node *x, pith_node *offsets,
                             pith_node *rows, bool causal)
{
    const bool parallel = t->block[layer] == CLIP_SAS_P;
    const clip_query_key own = shared ? *shared : clip_query_key_new(g, t->width);
    pith_node *n = clip_norm(g, "ln_1", x, NULL);
    pith_node *attention = shaped_attention(g, t, t->heads[layer], &own, n, offsets, rows, causal);
    /* b1, b2 and, of SAS, a */
    pith_node *b1 = pith_param(g, "attn.gain", PITH_CONSTANT, 1, 1), *h = pith_mul(b1, attention);
    if (!t->ffn[layer]) return h;
    pith_node *b2 = pith_param(g, "mlp.gain", PITH_CONSTANT, 0.1, 1);
    pith_node *to = !parallel ? clip_norm(g, "ln_2", h, NULL) : rows ? pith_gather(n, rows) : n;
    pith_node *y = pith_mul(b2, clip_mlp(g, t, layer, quick_gelu, to, shaped_initial));
    if (!parallel) h = pith_mul(pith_param(g, "mlp.skip_gain", PITH_CONSTANT, 1, 1), h);
    return pith_add(h, y);
}

/* losses.c: the losses by name. u, v: the student's unit image and text rows; u', v': the
 * teacher's; s, s': their scales. Of cluster: s_i, t_i: student's and teacher's image rows; w, c:
 * prototypes and centroids; y: clusters. */
#include "losses.h"

const pith_loss_entry pith_losses[] = {
    { "clip", clip_loss, false, false, "1/2 mean_i [ CE_j(s u_i.v_j, i) + CE_j(s v_i.u_j, i) ]",
      "InfoNCE: Radford et al., CLIP, ICML 2021", "" },
    { "siglip", siglip_loss, false, false,
      "1/B sum_ij softplus(-z_ij (s u_i.v_j + bias)), z_ij = 1 if i = j else -1",
      "Zhai et al., SigLIP, ICCV 2023", "scale=0: above 0, its own trained scale starts there" },
    { "affinity", affinity_loss, true, false,
      "1/2 mean_i [ CE(softmax_j(s' u'_i.v'_j), softmax_j(s u_i.v_j)) + text to image ]",
      "affinity mimicking: Wu et al., TinyCLIP, ICCV 2023",
      "scale=0: above 0, forced on both models (TinyCLIP: 50); "
      "alpha=1: its share, the rest is clip; "
      "logits=0: 1 averages the logits of several teachers, not their probabilities" },
    { "feature", feature_loss, true, false, "mean((u - u')^2) + mean((v - v')^2)",
      "FD: Yang et al., CLIP-KD, CVPR 2024 (there weighed 2000)", "" },
    { "relational", relational_loss, true, false,
      "1/2 mean_i [ KL(softmax_j(s' u'_i.v'_j) || softmax_j(s u_i.v_j)) + text to image ]",
      "CRD: Yang et al., CLIP-KD, CVPR 2024",
      "logits=0: 1 averages the logits of several teachers, not their probabilities" },
    { "interactive", interactive_loss, true, false,
      "1/2 mean_i [ CE_j(c u_i.v'_j, i) + CE_j(c v_i.u'_j, i) ], c trained",
      "ICL: Yang et al., CLIP-KD, CVPR 2024",
      "raw=0: 1 trains c itself instead of its logarithm, as the authors' code" },
    { "gradient", gradient_loss, true, false,
      "mean((dC/du - dC'/du')^2) + mean((dC/dv - dC'/dv')^2), C the clip loss",
      "GD: Yang et al., CLIP-KD, CVPR 2024", "" },
    { "pair", pair_loss, false, false,
      "mean of softplus(-z) of B pairs and softplus(z) of 2 B others, z = w.(u * v) + c",
      "pair matching, a reconstruction: Liu, SiCLIP, 2024; negatives: Li et al., ALBEF, 2021",
      "margin=0.2: where c starts, below 0; shift=0: 1 takes the next row's instead of drawn "
      "negatives; concat=0: 1 takes w.[u; v], which cannot learn" },
    { "cluster", cluster_loss, false, true,
      "softmax 1/n sum_i CE_j(scale margin(s_i.w_j), y_i) + kl 1/n sum_i "
      "KL(softmax_j(t_i.c_j / teacher_tau) || softmax_j(s_i.w_j / tau)), j of the classes drawn",
      "cluster discrimination, a reconstruction: Yang et al., CLIP-CID, AAAI 2025; classes drawn "
      "and margins: An et al., UNICOM, ICLR 2023",
      "softmax=1: weight of that term; kl=1: of that one, 0 needs no teacher; "
      "rate=0: the share of classes drawn, 0 is 0.1 of more than 10,000, else all; "
      "scale=32; margin=0: ArcFace's angle; cosface=0: CosFace's instead; "
      "true=0: 1 takes the margin's true gradient, not the identity's; "
      "tau=0: 0 is 1/scale; teacher_tau=0: likewise; "
      "frozen=0: 1 leaves the prototypes at the centroids; lr=1: their learning rate, a factor; "
      "shared=0: 1 measures the teacher against the prototypes, too" },
    { "instance", instance_loss, true, false,
      "1/4 mean_i [ CE_j(a u_i.u'_j, i) + CE_j(a u'_i.u_j, i) + the same of v and v' ], a trained",
      "instance discrimination, a reconstruction: Yang et al., CLIP-CID, AAAI 2025",
      "scale=0: above 0, holds a there; sum=0: 1 takes the sum of both modalities, not the mean" },
    { "slip", slip_loss, false, false,
      "1/2 mean_i [ CE_j((a_i.b_j, a_i.a_j but j = i) / 0.1, i) + views a, b exchanged ]",
      "what SLIP adds to clip: Mu et al., ECCV 2022 (clip+slip)",
      "hidden=0: width of its MLP, 0: 4096/768 of the tower's; out=256: that of its rows; "
      "temperature=0.1: what cosines are divided by" },
    { 0 },
};

"""Parity of the evaluators: Guo matching networks, TMR, TMR for 272-d motion."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F

from mld.models.conversion.keymap import Coverage, KeyMap
from mld.models.evaluators.guo.model import GuoConfig, GuoEvaluator
from mld.models.evaluators.guo.vectorizer import PARTS, WordVectors, vip_words
from mld.models.evaluators.tmr.convert import KEYS_272, join_tokens
from mld.models.evaluators.tmr.latent_losses import cosine_matrix, info_nce, kl_losses, similar_sentences
from mld.models.evaluators.tmr.model import TMR, TMRConfig
from mld.models.evaluators.tmr.tmr272 import TMR272, TMR272Config
from mld.models.gaussian import Gaussian
from mld.models.text_encoders.bert import BertEncoder
from tests.parity.harness import Case, runner


def load_guo(case: Case) -> GuoEvaluator:
    c = case.config
    assert tuple(c["pos_order"]) == PARTS and c["unit_length"] == 4 and c["dropped_features"] == 4
    assert vip_words() == {word: part for part, words in c["vip_lists"].items() for word in words}
    config = GuoConfig(
        representation="fixture", nfeats=c["nfeats"], fps=20, movement_hidden=c["movement_hidden"],
        movement_latent=c["movement_latent"], motion_hidden=c["motion_hidden"], text_hidden=c["text_hidden"],
        embedding_dim=c["output_size"], word_dim=c["word_size"], dropout=c["dropout"],
    )  # fmt: skip
    words = WordVectors(tuple(case.arrays["vocab_words"].tolist()), case.arrays["vocab_vectors"].astype("float32"))
    model = GuoEvaluator(config, words)
    statistics = {key: value for key, value in model.state_dict().items() if key.startswith("feature_")}
    model.load_state_dict({**statistics, **case.state_dict})
    return model.eval()


@runner("evaluation.guo")
@torch.no_grad()
def guo(case: Case) -> dict:
    model, c = load_guo(case), case.config
    tokens = [row.split() for row in case.arrays["tokens"].tolist()]
    plain = [row[1 : row.index("eos/OTHER")] for row in tokens]
    batch = model.words.vectorize(plain, c["max_text_len"])
    assert batch.ids.shape[1] == c["text_slots"]
    motion, lengths, pad = case.tensor("motion"), case.tensor("lengths"), case.tensor("pad_value")
    hidden = torch.arange(motion.shape[1]) >= lengths[:, None]
    padded = torch.where(hidden[..., None], pad, motion)
    rows = [row[None, : int(length)] for row, length in zip(motion, lengths)]
    return {
        "word_embs": model.vectors[batch.ids],
        "pos_onehot": F.one_hot(batch.pos, len(PARTS)),
        "cap_lens": batch.lengths,
        "movement": model.movement_encoder(motion[..., :-4]),
        "text_emb": model.encode_text(
            case.tensor("word_embs"), case.tensor("pos_onehot"), case.tensor("cap_lens")
        ),
        "motion_emb_packed": model.encode_motion(motion, lengths),
        "motion_emb_unpacked": model.encode_motion(motion, None),
        "motion_emb_packed_padvalue": model.encode_motion(padded, lengths),
        "motion_emb_unpacked_padvalue": model.encode_motion(padded, None),
        "motion_emb_packed_single": torch.cat([model.encode_motion(r, torch.tensor([r.shape[1]])) for r in rows]),
        "motion_emb_unpacked_single": torch.cat([model.encode_motion(r, None) for r in rows]),
    }  # fmt: skip


def actor_config(case: Case) -> dict:
    c = case.config
    assert c["activation"] == "gelu" and not c["normalize_before"] and c["norm_eps"] == 1e-5
    return {"representation": "fixture", "fps": 20, "latent_dim": c["latent_dim"], "ff_size": c["ff_size"],
            "num_layers": c["num_layers"], "num_heads": c["num_heads"], "dropout": c["dropout"]}  # fmt: skip


def fill(model, weights) -> None:
    """Strict except for statistics, which no fixture has, and what the fixture's file leaves out as a whole."""
    own = model.state_dict()
    parts = {key.split(".")[0] for key in weights}
    left = {key: value for key, value in own.items() if key.split(".")[0] not in parts}
    assert set(left) <= {"feature_mean", "feature_std"} | {k for k in own if k.startswith("motion_decoder.")}
    model.load_state_dict({**left, **weights})
    model.eval()


@runner("evaluation.tmr")
@torch.no_grad()
def tmr(case: Case) -> dict:
    c, losses = case.config, case.config["losses"]
    config = TMRConfig(
        nfeats=c["motion_nfeats"], text_width=c["text_nfeats"], temperature=losses["temperature"],
        similar_above=2 * losses["threshold_selfsim"] - 1, **actor_config(case),
    )  # fmt: skip
    model = TMR(config, BertEncoder("unused"))
    fill(model, case.state_dict)
    motion, text = case.tensor("motion"), case.tensor("text_tokens")
    mask = torch.arange(motion.shape[1]) < case.tensor("motion_lengths")[:, None]
    known = torch.arange(text.shape[1]) < case.tensor("text_lengths")[:, None]
    text_enc, motion_enc = model.text_encoder(text, known), model.motion_encoder(motion, mask)
    sentences = case.tensor("sent_emb")
    same = similar_sentences(sentences @ sentences.T, config.similar_above)
    default = c["infonce_default"]
    alike = similar_sentences(sentences @ sentences.T, 2 * default["threshold_selfsim"] - 1)
    ms = c["ms272"]
    assert ms["filter_exact_one"] is False
    ms_same = similar_sentences(case.tensor("sent_cosine"), ms["filter_threshold"], keep_equal=True)
    eps_text, eps_motion = case.tensor("eps_text"), case.tensor("eps_motion")
    out = {
        "motion_enc": torch.stack(motion_enc, 1), "text_enc": torch.stack(text_enc, 1),
        "dec_from_motion": model.motion_decoder(motion_enc.mu, mask),
        "dec_from_text": model.motion_decoder(text_enc.mu, mask),
        "lat_text_sampled": text_enc.sample(eps_text), "lat_motion_sampled": motion_enc.sample(eps_motion),
        "sim_matrix": cosine_matrix(text_enc.mu, motion_enc.mu),
        "score_matrix": model.scores(text_enc.mu, motion_enc.mu),
        "infonce_filtered": info_nce(text_enc.mu, motion_enc.mu, losses["temperature"], same),
        "infonce_unfiltered": info_nce(text_enc.mu, motion_enc.mu, losses["temperature"]),
        "infonce_default_temp07": info_nce(text_enc.mu, motion_enc.mu, default["temperature"], alike),
        "ms272_infonce_filtered": info_nce(text_enc.mu, motion_enc.mu, ms["temperature"], ms_same),
        "ms272_infonce_unfiltered": info_nce(text_enc.mu, motion_enc.mu, ms["temperature"]),
    }  # fmt: skip
    zeros = torch.zeros_like(eps_text)
    for name, noise in (("mean", (zeros, zeros)), ("sampled", (eps_text, eps_motion))):
        terms = model.losses(text_enc, motion_enc, noise, motion, mask, same)
        out[f"loss_{name}_recons"] = terms["recons_text"] + terms["recons_motion"]
        out[f"loss_{name}_kl"] = sum(value for key, value in terms.items() if key.startswith("kl_"))
        out[f"loss_{name}_latent"], out[f"loss_{name}_contrastive"] = terms["latent"], terms["contrastive"]
        out[f"loss_{name}_loss"] = sum(model.loss_weights[key] * value for key, value in terms.items())
    weights = model.loss_weights
    assert weights["latent"] == losses["lambda_latent"] and weights["contrastive"] == losses["lambda_contrastive"]
    assert {weights[key] for key in weights if key.startswith("kl_")} == {losses["lambda_kl"]}
    assert weights["recons_text"] == weights["recons_motion"] == losses["lambda_recons"]
    return out


def load_272(case: Case, folder: Path) -> TMR272:
    """The evaluator from the fixture's weights through the key map of published checkpoints."""
    c, coverage = case.config, Coverage()
    write_distilbert(folder, c["distilbert"], case.arrays.get("vocab"))
    own = join_tokens(KeyMap.load(KEYS_272).translate(case.state_dict, coverage))
    assert not coverage.unexpected
    words = {key.removeprefix("text_model."): own.pop(key) for key in list(own) if key.startswith("text_model.")}
    encoder = BertEncoder.from_weights(folder, words)
    config = TMR272Config(nfeats=c["nfeats"], text_width=encoder.width, **actor_config(case))
    model = TMR272(config, encoder)
    fill(model, own)
    return model


def write_distilbert(folder: Path, sizes: dict, vocabulary) -> None:
    """config.json and a WordPiece tokenizer (of dummy words where the fixture has none), as a hub folder has them."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(sizes["vocab_size"] - 5))]
    words = words if vocabulary is None else vocabulary.tolist()
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 512}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert sizes["norm_eps"] == 1e-12
    known = {key: value for key, value in sizes.items() if key != "norm_eps"}
    (folder / "config.json").write_text(json.dumps({"model_type": "distilbert", **known}))


def padded_mask(case: Case, lengths: str) -> torch.Tensor:
    return torch.arange(case.tensor("motion").shape[1]) < case.tensor(lengths)[:, None]


@runner("evaluation.eval272")
@torch.no_grad()
def eval272(case: Case) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        model = load_272(case, Path(folder))
    encoder = model.text
    ids, known = encoder.tokenize(case.arrays["texts"].tolist())
    states, _ = encoder.hidden(case.tensor("input_ids"), case.tensor("attention_mask").bool())
    text = model.text_encoder(states, case.tensor("attention_mask").bool())
    motion = model.motion_encoder(case.tensor("motion"), padded_mask(case, "motion_lengths"))
    return {
        "input_ids": ids, "attention_mask": known.long(), "bert_hidden": states, "text_loc": text.mu,
        "text_scale": text.std, "motion_loc": motion.mu, "motion_scale": motion.std,
    }  # fmt: skip


@runner("motionstreamer.evaluator")
@torch.no_grad()
def motionstreamer(case: Case) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        model = load_272(case, Path(folder))
    mask, known = padded_mask(case, "lengths"), case.tensor("attention_mask").bool()
    motion = model.motion_encoder(case.tensor("motion"), mask)
    longest = int(case.tensor("lengths").max())
    dynamic = model.motion_encoder(case.tensor("motion")[:, :longest], mask[:, :longest])
    states, _ = model.text.hidden(case.tensor("input_ids"), known)
    text = model.text_encoder(states, known)
    out = {
        "motion_mu": motion.mu, "motion_std": motion.std, "motion_mu_dynamic": dynamic.mu, "bert_last_hidden": states,
        "text_mu": text.mu, "text_std": text.std, "dec_out": model.motion_decoder(case.tensor("dec_z"), mask),
    }  # fmt: skip
    return {**out, **motionstreamer_losses(case)}


def motionstreamer_losses(case: Case) -> dict:
    c = case.config["losses"]
    assert c["filter_exact_one"] is False
    text, motion = (
        Gaussian(case.tensor(f"l_{side}_mu"), 2 * case.tensor(f"l_{side}_std").log()) for side in ("text", "motion")
    )
    kl = kl_losses(text, motion)
    same = similar_sentences(case.tensor("l_sbert_sim"), c["filter_threshold"], keep_equal=True)
    out = {
        "l_recons_jfeats2jfeats": F.smooth_l1_loss(case.tensor("l_f_motion"), case.tensor("l_f_ref")),
        "l_recons_text2jfeats": F.smooth_l1_loss(case.tensor("l_f_text"), case.tensor("l_f_ref")),
        "l_kl_text2motion": kl["kl_text_motion"], "l_kl_motion2text": kl["kl_motion_text"],
        "l_kl_text": kl["kl_text"], "l_kl_motion": kl["kl_motion"],
        "l_latent_manifold": F.smooth_l1_loss(case.tensor("l_lat_text"), case.tensor("l_lat_motion")),
        "l_contrastive_infonce": info_nce(text.mu, motion.mu, c["temperature"], same),
    }  # fmt: skip
    names = dict(zip(out, ("recons_motion", "recons_text", "kl_text_motion", "kl_motion_text", "kl_text", "kl_motion",
                           "latent", "contrastive")))  # fmt: skip
    given = {"recons": c["lambda_recons"], "kl": c["lambda_kl"], "latent": c["lambda_latent"],
             "contrastive": c["lambda_infonce"]}  # fmt: skip
    assert all(TMR272.loss_weights[name] == given[name.split("_")[0]] for name in names.values())
    out["l_total"] = sum(TMR272.loss_weights[names[key]] * value for key, value in out.items())
    return out

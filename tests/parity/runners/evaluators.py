"""Parity of the evaluators: Guo matching networks, TMR, TMR for 272-d motion."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from mld.models.evaluators.guo import GuoConfig, GuoEvaluator
from mld.models.evaluators.vectorizer import PARTS, WordVectors, vip_words
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

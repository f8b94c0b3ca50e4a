"""Tables of results for people and papers."""

from __future__ import annotations

from mld.evaluation.report import Table, kind_of, latex, markdown, number, short


def entry(value: float | None, ci95: float | None = 0.0123, **more) -> dict:
    return {"value": value, "ci95": ci95, "unit": "", "n": 40, "protocol": "p", **more}


def results() -> dict:
    return {
        "rows": {"real": {"guo/FID": entry(0.0021, 0.0002), "guo/all/t2m/R01": entry(34.0)}},
        "tasks": {"t2m": {
            "guo/FID": entry(0.5, note="biased"), "guo/Diversity": entry(None, None, reason="too few clips"),
            "length_error": entry(0.25, None, unit="s"),
        }},
        "checks": {"guo": {"status": "off", "lines": ["FID is 7"]}},
        "data": {"name": "set test", "clips": 40, "hash": "d1", "captions_hash": "c1"},
        "seeds": {"seed": 3, "replications": 20}, "protocol": {"id": "all/strict", "matches": "label"},
        "evaluators": {"guo": {"name": "guo-own@1"}}, "model": {"name": "tiny", "weights_hash": "w1"},
    }  # fmt: skip


def test_names_are_taken_apart() -> None:
    assert kind_of("guo/FID", ["guo"]) == ("guo", "embeddings", "FID")
    assert kind_of("guo/all/t2m/R01", ["guo"]) == ("guo", "all", "t2m/R01")
    assert kind_of("coco-raw/BLEU_1", ["guo"]) == ("", "own", "coco-raw/BLEU_1")
    assert (short("t2m/R05"), short("R_precision_top_1"), short("m2t/MedR")) == ("t2m R@5", "R@1", "m2t MedR")


def test_markdown_says_what_is_there_what_is_not_and_on_which_basis() -> None:
    text = markdown(results())
    assert "| real | 0.0021 ± 0.0002 |" in text
    assert "| t2m  | 0.500 ± 0.012" in text
    assert "length_error (s)" in text
    assert "Not computed (too few clips): t2m guo/Diversity." in text
    assert "Real row, guo: off (FID is 7)." in text
    assert "Note (biased): t2m guo/FID." in text
    assert "seeds 3 to 22" in text
    assert "Model: tiny (weights w1)." in text
    assert "guo-own@1" in text
    assert "t2m R@1" in text
    assert "t2m R@1" not in markdown(results(), brief=True)


def test_latex_is_escaped_and_complete() -> None:
    text = latex(results())
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert r"$0.500^{\pm 0.012}$" in text
    assert r"length\_error (s)" in text
    assert all(line.startswith("%") for line in text.split("\n\n")[0].splitlines())
    assert r"100\%" in Table("t", ["100%"], [("a", [None])]).latex()


def test_one_replication_is_called_that() -> None:
    content = results()
    content["seeds"]["replications"] = 1
    content["tasks"]["t2m"]["guo/FID"] = entry(0.5, None, interval_over_items=[0.412, 0.62])
    assert "never compare it with tables of 20" in markdown(content)
    assert "0.500 [0.412, 0.620]" in markdown(content)
    assert "$0.500$ [0.412, 0.620]" in latex(content)


def test_numbers_keep_what_matters() -> None:
    written = [number(value) for value in (0, 0.002134, 0.0511, 9.5034, 152.71)]
    assert written == ["0", "0.00213", "0.051", "9.503", "152.7"]

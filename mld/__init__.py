"""Motion as a language: tokenizers, language models and tools for human motion.

`mld.load(name)` opens a bundled model, `mld.load(folder)` any other; `mld.Motion` is a motion. Both import the
heavy parts on first use.
"""

from mld.version import __version__ as __version__


def load(path_or_hub_id: str, device: str = "cpu", weights: str = "float32"):
    """Open a bundled model by its name, a model folder or a hub id: a `mld.engine.pipeline.Pipeline` ready to generate
    and describe, or of an evaluator a `mld.engine.search.similarity.Similarity`, which says how well texts and motions
    fit."""
    from mld.checkpoint import read_config, resolve_folder

    folder = resolve_folder(path_or_hub_id)
    if read_config(folder)["kind"] == "evaluator":
        from mld.engine.search.similarity import Similarity

        return Similarity.load(folder, device=device)
    from mld.engine.pipeline import Pipeline

    return Pipeline.load(folder, device=device, weights=weights)


from_pretrained = load  # the name that users of Hugging Face look for


def __getattr__(name: str):
    if name == "Motion":
        import mld.view  # noqa: F401  (so that motions can be saved as pictures, videos and pages)
        from mld.motion.motion import Motion

        return Motion
    raise AttributeError(f"module 'mld' has no attribute '{name}'")

"""A data source by the settings that name it. A new kind of source is one line here."""

from __future__ import annotations

from mld.data.clips import ClipSource
from mld.data.config import DataConfig
from mld.data.sources.babel_stream import BabelStreamSource
from mld.data.sources.composing import with_composed
from mld.data.sources.fact_captioned import with_facts
from mld.data.sources.files import FilesSource
from mld.data.sources.humanml3d import HumanML3DSource
from mld.data.sources.joints_captions import JointsCaptionsSource
from mld.data.sources.json_list import JsonListSource
from mld.data.sources.mixed import open_mixture
from mld.data.sources.pairs import with_pairs
from mld.data.sources.procedural.source import open_procedural
from mld.data.sources.shards import ShardsSource

SOURCES = {
    "babel_stream": BabelStreamSource,
    "files": FilesSource,
    "humanml3d": HumanML3DSource,
    "joints": JointsCaptionsSource,
    "json": JsonListSource,
    "procedural": open_procedural,
    "shards": ShardsSource,
}


def build_source(cfg: DataConfig, split: str) -> ClipSource:
    """The clips of `split` ("train", "val" or "test"), of all `cfg.sources` if there are several.

    `DataError` if there is none or a folder cannot be used."""
    cfg.check()
    if cfg.sources:
        return open_mixture(cfg, split, build_source)
    source = with_facts(SOURCES[cfg.source](cfg, split), cfg, split)
    return with_pairs(with_composed(source, cfg, split), cfg, split)

"""A motion longer than the model reads gets one caption with the times of its parts."""

from types import SimpleNamespace

import torch

import tasks
from mld.engine.request import Answer, Request
from mld.example import Clip, Text
from mld.motion.representations.registry import get_representation


class Engine:
    """Says how many frames it was given; reads at most 100."""

    representation = get_representation("humanml3d")
    model = SimpleNamespace(tokenizer=SimpleNamespace(layout=SimpleNamespace(longest=100)))

    def __init__(self):
        self.checked = []

    def run(self, requests, batch_size=32, progress=False):
        return [Answer(request, text=f"{len(request.prompt[-1].features)} frames from "
                                     f"{int(request.prompt[-1].features[0, 0])}.") for request in requests]  # fmt: skip

    def check(self, request):
        self.checked.append(len(request.prompt[-1].features))


def asked(frames, *words):
    features = torch.arange(frames)[:, None].expand(frames, 263).float()
    return Request((*words, Clip(features=features)), "text", name=f"{frames}")


def test_captions_by_part_with_times():
    requests = [asked(100), asked(250, Text("What is this? ")), asked(60)]
    short, long, other = tasks.find("m2t").answers(Engine(), requests, batch_size=2)
    assert (short.text, other.text) == ("100 frames from 0.", "60 frames from 0.") and not short.notes
    assert long.text == ("[0.0-4.2 s] 83 frames from 0. [4.2-8.3 s] 84 frames from 83. "
                         "[8.3-12.5 s] 83 frames from 167.")
    assert long.request is requests[1] and "3 parts" in long.notes[0]


def test_a_long_motion_is_no_longer_refused_before_work():
    engine = Engine()
    tasks.find("m2t").check(engine, asked(250))
    assert engine.checked == [83]

"""The page as `gradio.Blocks`: components, and which of them listens to which. What happens is in `actions.py`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mld.serve.page.actions import LIVE, Actions
from mld.serve.page.speech import HINT, Listener
from mld.serve.studio import QUEUE, Studio

TITLE = "mld: motion and language"
QUIET = {"api_name": False, "show_progress": "hidden"}
# Each tab follows its own request: the studio's queue, not gradio's, says who is next.
FOLLOWED = {"concurrency_limit": 2 * QUEUE, "concurrency_id": "follow"}
RECALL = "() => [sessionStorage.getItem('mld') || '', null]"  # the name of the tab's conversation, over a reload
AWAITED = "(...values) => [...values.slice(0, -1), window.mldAwaited()]"  # of `web/page.js`
PICKED = "(...values) => (window.mldAwaited(), values)"
EMPTY = "seconds => [seconds || null]"  # gradio shows 0 in an empty field that comes into view
REMEMBER = "name => { sessionStorage.setItem('mld', name); return [] }"


@dataclass
class Parts:
    """The components that events connect."""

    task: Any = None
    model: Any = None
    chat: Any = None
    stage: Any = None
    live: Any = None
    first: Any = None
    second: Any = None
    clips: Any = None
    ideas: Any = None
    text: Any = None
    send: Any = None
    stop: Any = None
    again: Any = None
    clear: Any = None
    seconds: Any = None
    samples: Any = None
    seed: Any = None
    voice: Any = None


def build_page(gr, studio: Studio, clips: Path | None = None, listener: Listener | None = None):
    """clips: a folder of motion files to try. listener: hears spoken requests; None leaves only a hint."""
    from mld.serve.conversation import Conversation

    actions = Actions(gr, studio, clips, listener)
    parts = Parts()
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600), fill_width=True) as page:
        session = gr.State(Conversation())
        with gr.Row(elem_id="top"):
            gr.HTML('<h1>Motion and language</h1>', elem_id="brand", padding=False)
            _model(gr, parts, studio)
        with gr.Row(elem_id="main", equal_height=False):
            with gr.Column(elem_id="talk", scale=5, min_width=320):
                _talk(gr, parts, actions, listener)
            with gr.Column(elem_id="show", scale=7, min_width=320):
                parts.stage = gr.HTML(actions.stage(Conversation()), elem_id="stage", padding=False)
                parts.live = gr.HTML("", elem_id="live", padding=False)
        _connect(gr, parts, actions, session)
        _come_and_go(gr, page, parts, actions, session)
    return page.queue(max_size=4 * QUEUE)


def _model(gr, parts: Parts, studio: Studio) -> None:
    models = studio.models
    form = next(iter(studio.forms.values()))
    choices = models.choices(form.name, form.shape)
    hint = "A model of the list, a model folder or a hub id" if models.free else "The model that answers"
    parts.model = gr.Dropdown(choices, value=choices[0][1], label=hint, allow_custom_value=models.free,
                              filterable=models.free, elem_id="model", scale=0, min_width=240, container=False,
                              interactive=models.free or len(choices) > 1)  # fmt: skip


def _talk(gr, parts: Parts, actions: Actions, listener: Listener | None) -> None:
    forms = actions.studio.forms
    labels = [(form.label, name) for name, form in forms.items()]
    start = labels[0][1]
    labels += [("Live", LIVE)] if actions.studio.streams else []
    parts.task = gr.Radio(labels, value=start, label="Task", show_label=False, container=False, elem_id="task")
    parts.chat = gr.HTML(actions.history(None), elem_id="chat", padding=False)
    parts.ideas = gr.Dataset(components=["textbox"], samples=actions.ideas(start), label="Try", elem_id="ideas",
                             samples_per_page=20, show_label=False)  # fmt: skip
    with gr.Column(elem_id="composer"):
        _clips(gr, parts, actions)
        gr.HTML('<p role="status"></p>', elem_id="wait", padding=False)
        with gr.Row(elem_id="say"):
            parts.text = gr.Textbox(placeholder=forms[start].hint, label="Words", show_label=False, container=False,
                                    lines=1, max_lines=4, elem_id="text", autofocus=True)  # fmt: skip
            parts.send = gr.Button("Send", variant="primary", scale=0, min_width=72, elem_id="send")
            parts.stop = gr.Button("Stop", scale=0, min_width=72, elem_id="stop", visible=False)
        if listener is not None:
            parts.voice = gr.Audio(sources=["microphone"], type="filepath", format="wav", label="Say it",
                                   elem_id="voice")  # fmt: skip
        _knobs(gr, parts)
    with gr.Row(elem_id="more"):
        parts.again = gr.Button("Again", size="sm", scale=0, min_width=60, elem_id="again", elem_classes="quiet")
        parts.clear = gr.Button("Clear", size="sm", scale=0, min_width=60, elem_id="clear", elem_classes="quiet")
        if listener is None:
            gr.HTML(f"<small>{HINT}</small>", elem_id="hint", padding=False)


def _clips(gr, parts: Parts, actions: Actions) -> None:
    """Uploads. A box takes several files, as an AMC file comes with its ASF file. It takes files of any kind: those
    that are no motion are refused in words, and stay in their box, so that no other is taken in their place."""
    with gr.Row(elem_id="clips", visible=False) as parts.clips:
        parts.first, parts.second = (
            gr.File(label=label, file_count="multiple", height=84, elem_id=name, elem_classes="clip", min_width=130)
            for label, name in (("Motion", "first"), ("Ends with", "second"))
        )  # fmt: skip


def _knobs(gr, parts: Parts) -> None:
    """Numbers. What is out of bounds is refused in words (`form_input.py`): limits of the fields would only make "Send"
    do nothing."""
    with gr.Row(elem_id="knobs"):
        parts.seconds, parts.samples, parts.seed = (
            gr.Number(value, label=label, min_width=60, elem_id=name, elem_classes="knob", **options)
            for value, label, name, options in (
                (None, "Seconds", "seconds", {"step": 0.5, "placeholder": "auto"}),
                (1, "Samples", "samples", {"precision": 0}), (0, "Seed", "seed", {"precision": 0}),
            )
        )  # fmt: skip


def _come_and_go(gr, page, parts: Parts, actions: Actions, session) -> None:
    """A page that is loaded again finds its conversation; one that is closed lets go of it."""
    name = gr.Textbox(visible=False)

    def arrive(known: str, begun: Any, request) -> tuple:
        return actions.arrive(known, begun, request.session_hash)

    def leave(request) -> None:
        actions.studio.visits.leave(request.session_hash)

    arrive.__annotations__["request"] = leave.__annotations__["request"] = gr.Request
    found = [session, name, parts.chat, parts.stage, parts.stop]
    event = page.load(arrive, [name, session], found, js=RECALL, queue=False, **QUIET)
    event.then(None, [name], None, js=REMEMBER, **QUIET)
    event.then(actions.work, [session], found[2:], **FOLLOWED, **QUIET)
    page.unload(leave)
    page.load(None, [parts.seconds], [parts.seconds], js=EMPTY, **QUIET)
    page.load(actions.limit, [parts.task, parts.model], [parts.seconds], queue=False, **QUIET)


def _connect(gr, parts: Parts, actions: Actions, session) -> None:
    seen = [parts.chat, parts.stage, parts.stop]
    form = [parts.task, parts.text, parts.first, parts.second, parts.seconds, parts.seed, parts.samples, parts.model]
    accepted = [parts.chat, parts.stop, parts.text]
    asked = [session, *form, gr.Textbox(visible=False)]
    began = [
        parts.send.click(actions.send, asked, accepted, js=AWAITED, queue=False, **QUIET),
        parts.text.submit(actions.send, asked, accepted, js=AWAITED, queue=False, **QUIET),
        parts.again.click(actions.again, [session], [*accepted[:2], parts.seed], queue=False, **QUIET),
    ]
    for event in began:
        event.then(actions.work, [session], seen, **FOLLOWED, **QUIET)
    parts.stop.click(actions.stop, [session], [parts.chat, parts.stop], queue=False, **QUIET)
    parts.clear.click(actions.clear, [session], seen, queue=False, **QUIET)
    for box in (parts.first, parts.second):
        box.change(actions.hold, [session, parts.first, parts.second], None, queue=False, **QUIET)
    shown = [parts.text, parts.clips, parts.first, parts.second, parts.seconds, parts.samples, parts.ideas,
             parts.model]
    chosen = parts.task.change(actions.choose, [parts.task, parts.model], shown, queue=False, **QUIET)
    chosen.then(None, [parts.seconds], [parts.seconds], js=EMPTY, **QUIET)
    limit = [actions.limit, [parts.task, parts.model], [parts.seconds]]
    for event in (parts.task.change, parts.model.change):
        event(*limit, queue=False, **QUIET)
    for part in (parts.task, parts.model):
        part.change(actions.live, [session, parts.task, parts.model], [parts.live], queue=False, **QUIET)
    parts.ideas.click(actions.pick, [parts.ideas, parts.task, parts.first], [parts.text, parts.first, parts.second],
                      js=PICKED, queue=False, **QUIET)  # fmt: skip
    if parts.voice is not None:
        parts.voice.stop_recording(actions.listen, [parts.voice], [parts.text, parts.voice], concurrency_limit=1,
                                   concurrency_id="model", **QUIET)  # fmt: skip

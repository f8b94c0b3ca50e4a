"""A judge behind an OpenAI-compatible endpoint: chat completions with image parts, over plain HTTP of the standard
library.

The key comes from the environment: MLD_JUDGE_KEY, else OPENAI_API_KEY, which goes over https or to this machine alone.
Redirects are not followed, as they would take the key elsewhere.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from mld.errors import RequestError, shown
from mld.evaluation.judge.contract import JudgeError, introduced
from mld.files import parse_json

WAITS = (1.0, 2.0)  # seconds before the second and the third try
LONGEST_WAIT = 30.0  # that a server may ask for
TIMEOUT = 120.0  # seconds without a byte
LARGEST = 8_000_000  # bytes of an answer
UNREACHED = 3  # questions in a row that did not reach it: after them it is not tried any more
MOST_TOKENS = 4096  # of an answer, with what a model thinks before it
HERE = ("localhost", "127.0.0.1", "::1")


class Endpoint:
    """spec: `https://HOST/v1#MODEL`; without a model the only one that the endpoint offers, asked for when needed."""

    def __init__(self, spec: str, timeout: float = TIMEOUT, sleep: Callable[[float], None] = time.sleep) -> None:
        address, _, model = spec.partition("#")
        parts = _split(address)
        # User, password and query may be secrets: they are no part of what is shown and kept.
        self.place = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
        self.place = self.place.removesuffix("/chat/completions")
        self.timeout, self.sleep = timeout, sleep
        self._lock = threading.Lock()
        self._unreached = 0
        self._lasting: JudgeError | None = None
        self._limits: dict[str, Any] = {"temperature": 0, "max_tokens": MOST_TOKENS}
        self._model = model
        self._key = os.environ.get("MLD_JUDGE_KEY", "").strip()
        if not self._key and (parts.scheme == "https" or parts.hostname in HERE):
            self._key = os.environ.get("OPENAI_API_KEY", "").strip()
        if not self._key.isprintable() or not self._key.isascii():
            raise RequestError("MLD_JUDGE_KEY or OPENAI_API_KEY holds characters that no key has; set it again")
        opener = urllib.request.build_opener(_NoRedirect)
        self._open = opener.open

    @property
    def identity(self) -> str:
        return f"{self.place}#{self.model}"

    @property
    def model(self) -> str:
        with self._lock:
            if not self._model:
                self._model = self._only_model()
            return self._model

    def ask(self, question: str, pictures: Sequence[bytes], fps: float) -> str:
        """As promised by `Judge`; three tries."""
        if self._lasting is not None:
            raise self._lasting
        content: list[dict[str, Any]] = [{"type": "text", "text": introduced(question, pictures, fps)}]
        content += [{"type": "image_url", "image_url": {"url": _as_url(picture)}} for picture in pictures]
        body = {"model": self.model, "messages": [{"role": "user", "content": content}]}
        return self._try(lambda: self._answer(body))

    def _try(self, ask: Callable[[], str]) -> str:
        """The first answer of three tries; what is no affair of a moment is not tried again."""
        for number in range(len(WAITS) + 1):
            try:
                answer = ask()
                self._unreached = 0
                return answer
            except _Passing as error:
                if number == len(WAITS):
                    raise self._given_up(error) from error
                self.sleep(max(WAITS[number], error.wait))
            except JudgeError as error:
                if error.lasting:
                    self._lasting = error
                raise
        raise AssertionError

    def _given_up(self, error: _Passing) -> JudgeError:
        self._unreached = self._unreached + 1 if error.unreached else 0
        lasting = self._unreached >= UNREACHED
        told = JudgeError(f"{error} ({len(WAITS) + 1} tries)", lasting)
        if lasting:
            self._lasting = told
        return told

    def _answer(self, body: Mapping[str, Any]) -> str:
        while True:
            limits = dict(self._limits)
            try:
                return _text_of(self._post("chat/completions", {**body, **limits}), self.place)
            except _Refused as error:
                if not self._less(error.said, limits):
                    raise JudgeError(str(error), error.lasting) from error

    def _less(self, said: str, sent: Mapping[str, Any]) -> bool:
        """Whether an endpoint named a limit that it does not know; without it, or under its newer name, it is asked
        again."""
        for name in sent:
            if name in said:
                with self._lock:
                    self._limits.pop(name, None)
                    if name == "max_tokens":
                        self._limits["max_completion_tokens"] = MOST_TOKENS
                return True
        return False

    def _only_model(self) -> str:
        try:
            found = self._get_models()
        except _Passing as error:
            raise JudgeError(f"{error}; name the model: {self.place}#MODEL", lasting=True) from error
        except _Refused as error:
            raise JudgeError(f"{error}; name the model: {self.place}#MODEL", lasting=True) from error
        if len(found) != 1:
            offers = f"it offers {', '.join(found[:5])}" if found else "it lists none"
            raise JudgeError(f"{self.place}: name the model, {self.place}#MODEL; {offers}", lasting=True)
        return found[0]

    def _get_models(self) -> list[str]:
        listed = self._post("models", None)
        entries = listed.get("data") if isinstance(listed, dict) else None
        names = [entry.get("id") for entry in entries or () if isinstance(entry, dict)]
        return [name for name in names if isinstance(name, str) and name.isprintable()]

    def _post(self, path: str, body: Mapping[str, Any] | None) -> Any:
        """The JSON that the endpoint answers; without a body it is a GET."""
        headers = {"Content-Type": "application/json", "User-Agent": "mld"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.place}/{path}", data, headers)
        try:
            with self._open(request, timeout=self.timeout) as answer:
                text = answer.read(LARGEST + 1)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, TimeoutError):
                reason = f"no answer within {self.timeout:g} s"
            raise _Passing(f"judge {self.place} cannot be reached ({reason})", unreached=True) from error
        if len(text) > LARGEST:
            raise _Passing(f"judge {self.place} answered more than {LARGEST:,} bytes")
        try:
            return parse_json(text)
        except ValueError as error:
            raise _Passing(f"judge {self.place} answered no JSON ({shown(text, 80)}); is this the address of an "
                           "OpenAI-compatible API, ending in /v1?") from error  # fmt: skip

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        try:
            said = _said(error.read(100_000))
        except (OSError, http.client.HTTPException):
            said = ""
        finally:
            error.close()
        if self._key:
            said = said.replace(self._key, "KEY")
        why = f": {shown(said, 120)[1:-1]}" if said else ""
        code = error.code
        if code in (401, 403):
            key = "the key was refused" if self._key else "a key is needed"
            return JudgeError(f"judge {self.place}: {key} ({code}){why}; set MLD_JUDGE_KEY", lasting=True)
        if code == 404:
            return JudgeError(f"judge {self.place}: no model {shown(self._model)} or no such address (404){why}",
                              lasting=True)  # fmt: skip
        if code in (408, 409, 425, 429) or code >= 500:
            return _Passing(f"judge {self.place} is not ready ({code}){why}", _seconds(error.headers))
        if code < 400:
            return JudgeError(f"judge {self.place} is elsewhere ({code}): {shown(error.headers.get('Location', ''))}; "
                              "name that address", lasting=True)  # fmt: skip
        # A picture or a question that one motion alone has may be to blame, so another one is tried.
        wrong_model = "model" in said.lower() and any(word in said.lower() for word in ("not exist", "not found"))
        return _Refused(f"judge {self.place} refused the question ({code}){why}", said, lasting=wrong_model)


class _Passing(Exception):
    """What may be over in a moment. wait: seconds that the server asked for."""

    def __init__(self, message: str, wait: float = 0.0, unreached: bool = False) -> None:
        super().__init__(message)
        self.wait, self.unreached = wait, unreached


class _Refused(Exception):
    """A question that the endpoint does not take. said: why, in its own words."""

    def __init__(self, message: str, said: str, lasting: bool) -> None:
        super().__init__(message)
        self.said, self.lasting = said, lasting


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def _split(address: str) -> Any:
    try:
        parts = urlsplit(address)
        if parts.hostname and parts.port != 0 and address.isprintable() and " " not in address:
            return parts
    except ValueError:
        pass
    raise RequestError(f"judge {shown(address)}: no address; such as https://HOST/v1#MODEL")


def _as_url(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _text_of(completion: Any, place: str) -> str:
    """The words of a chat completion: a text, or parts that hold texts."""
    try:
        choice = completion["choices"][0]
        content = choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise _Passing(f"judge {place} answered no chat completion ({shown(completion, 80)})") from error
    if isinstance(content, list):
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    if not isinstance(content, str) or not content.strip():
        ended = choice.get("finish_reason") if isinstance(choice, dict) else None
        raise _Passing(f"judge {place} answered nothing (finish_reason {shown(ended)})")
    return content.strip()


def _said(body: bytes) -> str:
    """What an error of an endpoint says, of the forms that are in use."""
    try:
        found = parse_json(body)
    except ValueError:
        return body.decode("utf-8", "replace").strip()
    while isinstance(found, (dict, list)) and found:
        found = found[0] if isinstance(found, list) else next(
            (found[key] for key in ("error", "message", "detail") if found.get(key)), ""
        )  # fmt: skip
    return str(found or "").strip()


def _seconds(headers: Any) -> float:
    """What Retry-After asks for, within reason."""
    try:
        return min(max(float(headers.get("Retry-After", 0)), 0.0), LONGEST_WAIT)
    except (TypeError, ValueError):
        return 0.0

"""The contract's addresses, and its form for errors."""

from __future__ import annotations

import json

from mld.errors import one_line

PATHS = ("/capabilities", "/generate", "/health")
CODES = {401: "unauthorized", 403: "forbidden", 413: "payload_too_large", 429: "rate_limited", 500: "internal_error",
         503: "resource_exhausted", 504: "timeout"}  # fmt: skip
OTHER = "invalid_request"


def envelope(status: int, said: str) -> bytes:
    """The body of an error of a status of HTTP."""
    error = {"code": CODES.get(status, OTHER), "message": one_line(said), "details": {}}
    return json.dumps({"error": error}, ensure_ascii=False).encode()


def plain_line(body: bytes) -> bytes:
    """An error of the SDK with the first of its reasons in the message, which is all that most clients show."""
    document = json.loads(body)
    error = document["error"]
    reasons = error.get("details", {}).get("errors") or []
    if reasons and error["code"] == "schema_validation":
        where = ".".join(str(part) for part in reasons[0].get("loc", ()))
        error["message"] += f": {where}: {reasons[0]['msg']}" if where else f": {reasons[0]['msg']}"
    error["message"] = one_line(error["message"])
    return json.dumps(document, ensure_ascii=False).encode()

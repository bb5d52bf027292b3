"""What Schemathesis' configuration cannot say."""
import os
import random
import re

import schemathesis

# A URL that the contract takes for one of a webhook. Nothing is to leave this machine: what would be sent goes here, where it is
# refused because the address is loopback.
WEBHOOK_URL = re.compile(r"https?://[^\x00-\x20\x7f]{1,2040}")
NOWHERE = "https://localhost/"

# What Schemathesis finds in lists and would saw off: the user and the token that it calls with.
OWN = set(os.environ.get("ALOFT_OWN", "").split())
# Of a project that the caller may not see: ids by the names of parameters, and a word that everything in it is named or
# labelled with. Calls aim at the ids; the word comes from nowhere but the project itself.
FOREIGN = dict(pair.split("=") for pair in os.environ.get("ALOFT_FOREIGN", "").split())
FOREIGN_WORD = os.environ.get("ALOFT_FOREIGN_WORD", "")

# Bytes from somewhere on (draft-ietf-httpbis-resumable-upload): bytes.
schemathesis.serializer.alias("application/partial-upload", "application/octet-stream")


@schemathesis.hook
def before_call(context, case, kwargs):
    """In the stateful phase every 2xx is taken for an effect: what was created must be there, what was deleted must not.

    A dry run answers as if and has none; a repeated Idempotency-Key gets the answer of the first time, whatever has become
    of the resource. The other phases call both.
    """
    meta = case.meta
    if meta is not None and meta.phase.name.value == "stateful" and meta.generation.mode.is_positive:
        if case.query:
            case.query.pop("dry_run", None)
        if case.headers:
            case.headers.pop("Idempotency-Key", None)

    # Links are followed from members of answers that are null too, to "None", which is not even a name.
    for name, value in (case.path_parameters or {}).items():
        if value in (None, "None"):
            case.path_parameters[name] = "none"

    for place in (case.path_parameters, case.query):
        for name, foreign in FOREIGN.items():
            if place and name in place and random.random() < 0.2:
                place[name] = foreign
    if case.operation.path.startswith("/v1/webhooks") and isinstance(case.body, dict):
        url = case.body.get("url")
        if isinstance(url, str) and WEBHOOK_URL.fullmatch(url):
            case.body["url"] = NOWHERE
        # Kinds that fit the pattern are seldom kinds that there are.
        if meta is not None and meta.generation.mode.is_positive and isinstance(case.body.get("events"), list):
            case.body["events"] = ["vm.*"]

    # Without them every later call would end with 401 and try nothing.
    if case.method in ("PATCH", "PUT", "DELETE") and case.path_parameters:
        if case.path_parameters.get("user") in OWN:
            case.path_parameters["user"] = "passing"
        if case.path_parameters.get("token") in OWN:
            case.path_parameters["token"] = "tok_01h455vb4pex5vsknk084sn02q"


@schemathesis.check
def shows_nothing_of_others(context, response, case):
    """No answer holds anything of a project that the caller may not see."""
    if FOREIGN_WORD:
        assert FOREIGN_WORD not in response.text, "the answer shows something of another project"

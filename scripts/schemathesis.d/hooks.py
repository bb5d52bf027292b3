"""What Schemathesis' configuration cannot say."""
import schemathesis


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

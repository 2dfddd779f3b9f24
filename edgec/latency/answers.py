"""The forms of workers' answers, by command. Only answers of these forms are accepted.

A worker is one of edgec's processes, but a runtime's code runs in it, and that code may write anything anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgec.untrusted import Refused, parse_json_object

Milliseconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Samples = Annotated[list[Milliseconds], Field(min_length=1)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Text = Annotated[str, Field(max_length=4096)]
_WIDTH = 1000


class _Answer(BaseModel):
    model_config = ConfigDict(strict=True)


class _Load(_Answer):
    import_ms: Milliseconds
    load_ms: Milliseconds
    first_inference_ms: Milliseconds
    process_ms: Milliseconds | None
    execution_precision: Text
    threads: Count


class _Warm(_Answer):
    runs_ms: Samples


class _Run(_Answer):
    samples_ms: Samples
    cpu_ms: Milliseconds
    block_cpu_ms: Milliseconds = 0.0


class _Plain(_Answer):
    elapsed_ms: Milliseconds


class _Stream(_Answer):
    dropped: Count
    cpu_ms: Milliseconds
    all_cpu_ms: Milliseconds
    spun_ms: Milliseconds


class _Idle(_Answer):
    samples_ms: Samples


class _Finish(_Answer):
    peak_rss_bytes: Count


class _Step(_Answer):
    name: Text
    layers: list[Text]
    operations: list[Text]
    execution: Text
    computes_in: Text
    mean_ms: Milliseconds


class _Profile(_Answer):
    source: Text
    iterations: Count
    whole_ms: Samples
    plain_ms: Samples
    steps: list[_Step]
    rates_gflops: dict[Text, Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]]


FORMS: Mapping[str, type[_Answer]] = {
    "load": _Load,
    "warm": _Warm,
    "run": _Run,
    "plain": _Plain,
    "stream": _Stream,
    "idle": _Idle,
    "finish": _Finish,
    "profile": _Profile,
}


def read_answer(data: bytes, do: str) -> dict[str, Any]:
    """The answer to the command `do`, checked. A failure is {"error": text}; that a runtime does not time its steps, {"untold":
    true}. Raises `Refused` for anything else."""
    answer = parse_json_object(data)
    if "error" in answer:
        return {"error": str(answer["error"])[:_WIDTH]}
    if do == "profile" and answer.get("untold") is True:
        return {"untold": True}
    if do not in FORMS:
        raise Refused(f"answers {ascii(do)[:80]}, which is no command")
    try:
        FORMS[do].model_validate(answer)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False, include_input=False)
        where = ".".join(map(str, first["loc"]))
        raise Refused(f"is no answer to {do!r}: {ascii(where)[:80]}: {first['msg']}") from None
    return answer

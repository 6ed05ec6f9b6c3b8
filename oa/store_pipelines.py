"""What SQL a pipeline of stages becomes, remembered by the pipeline's form.

neosqlite translates each pipeline anew: 0.1 to 0.8 ms for five to seventeen ranges. Pipelines that differ in texts and
whole numbers of their conditions alone become the same SQL with other values. Whether that holds for a form is not
taken on trust: it is translated twice, the second time with values that occur nowhere else, so each is found again.
"""

from __future__ import annotations

from typing import Any

from oa.store_texts import Unlike, is_whole, plain_text

FORMS = 500
"""Forms that are remembered."""
LITERAL = frozenset(("$sort", "$limit", "$skip", "$project"))
"""Stages that belong to a form with all that they say."""
MARK = 7_340_033_000_000_000
"""Whole numbers from here stand for those of a form; texts for its texts are made of it too."""

Form = tuple[Any, ...]
Query = tuple[str, list[tuple[bool, Any]]]
"""SQL, and for each of its values whether it is one of the pipeline's, by its place, or always the same."""


def outline(stages: Any, values: list[Any]) -> Form:
    """A pipeline without its conditions' texts and whole numbers, which are added to `values` in their order.

    Raises:
        Unlike: it has stages or values whose translation may depend on more.
    """
    form: list[Any] = []
    _add_stages(stages, form, values)
    return tuple(form)


def _add_stages(stages: Any, form: list[Any], values: list[Any]) -> None:
    """Add what a pipeline is made of to its form; lengths say what belongs together."""
    if type(stages) is not list or not stages:
        raise Unlike("no pipeline")
    form.append(len(stages))
    for stage in stages:
        ((name, content),) = stage.items()
        form.append(name)
        if name == "$match":
            _add_condition(content, form, values)
        elif name == "$unionWith" and content.keys() == {"coll", "pipeline"}:
            form.append(str(content["coll"]))
            _add_stages(content["pipeline"], form, values)
        elif name in LITERAL:
            form.append(repr(content))
        else:
            raise Unlike(name)


def _add_condition(content: Any, form: list[Any], values: list[Any]) -> None:
    kind = type(content)
    if kind is dict:
        form.append((dict, len(content)))
        for key, value in content.items():
            form.append(key)
            _add_condition(value, form, values)
    elif kind is list:
        form.append((list, len(content)))
        for value in content:
            _add_condition(value, form, values)
    elif content is None or kind is bool:
        form.append((bool, content))
    elif plain_text(content) or is_whole(content):
        form.append(str if kind is str else int)
        values.append(content)
    else:
        raise Unlike("a value")


def marked(stages: Any) -> Any:
    """The same pipeline with values that tell their places."""
    return _marked(stages, [0], False)


def _marked(content: Any, count: list[int], condition: bool) -> Any:
    if type(content) is dict:
        return {key: _marked(value, count, condition or key == "$match") for key, value in content.items()}
    if type(content) is list:
        return [_marked(value, count, condition) for value in content]
    if not condition or content is None or type(content) is bool:
        return content
    count[0] += 1
    number = MARK + count[0] - 1
    return f"value {number} of a form" if type(content) is str else number


UNKNOWN: Any = object()


class Pipelines:
    """Translations of one server's pipelines."""

    def __init__(self) -> None:
        self._known: dict[Form, Query | None] = {}

    def query(self, database: Any, name: str, stages: Any) -> tuple[str, list[Any]]:
        """SQL of a pipeline over the collection `name`, and its values.

        Raises:
            Unlike: it is none that becomes SQL by its form alone.
        """
        values: list[Any] = []
        key = (name, *outline(stages, values))
        known = self._known.get(key, UNKNOWN)
        if known is UNKNOWN:
            if len(self._known) >= FORMS:
                self._known.clear()
            known = self._known[key] = _translated(database, name, stages, values)
        if known is None:
            raise Unlike("a form")
        sql, places = known
        return sql, [values[place] if from_pipeline else place for from_pipeline, place in places]


def _translated(database: Any, name: str, stages: Any, values: list[Any]) -> Query | None:
    """SQL of a form; None where it depends on the values, or there is none."""
    translate = database[name].query_engine.sql_tier_aggregator.build_pipeline_sql
    sql, bound = translate(stages)
    other, marks = translate(marked(stages))
    if sql is None or sql != other or len(bound) != len(marks):
        return None
    places = [_place(mark) for mark in marks]
    again = [values[place] if from_pipeline else place for from_pipeline, place in places]
    used = [place for from_pipeline, place in places if from_pipeline]
    return (sql, places) if again == bound and sorted(set(used)) == list(range(len(values))) else None


def _place(mark: Any) -> tuple[bool, Any]:
    """Where a value of the marked pipeline comes from."""
    text = str(mark).removeprefix("value ").removesuffix(" of a form")
    number = int(text) - MARK if text.isdecimal() else -1
    return (True, number) if number >= 0 else (False, mark)

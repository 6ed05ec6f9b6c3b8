"""A quicker way through graphql-core for what most fields are: attributes and short methods of plain values.

graphql-core makes a `ResolveInfo` and a path for every field and goes through five functions to find out that a string
is a string; Strawberry goes through three more to read an attribute. Of a tree of 40 messages that is most of the CPU
time. Here straight fields (`straight`) are read and turned into their wire form directly, with all that stands below
them; everything that is out of the ordinary (null where there must be none, a value of another type, one to wait for,
an error) is left to graphql-core, which does that field over and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from graphql import GraphQLObjectType
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from .straight import STRAIGHT, Leaf, NotStraight, Several, Shape, Single, Straight, refuse

Finish = Callable[[Any], Any]
"""A value that is not null in its wire form; raises where graphql-core has to look at it."""


class Around:
    """What a straight field may ask of `info`."""

    __slots__ = ("context",)

    def __init__(self, context: Any) -> None:
        self.context = context


class Step(NamedTuple):
    """One straight field of a selection.

    Attributes:
        name: under which it is answered.
        read: its value, of the object and `around`, or of the object alone where there is none.
        same: the type of values that are their wire form; None where there is none.
        required: whether it may not be null.
    """

    name: str
    read: Callable[..., Any]
    around: Around | None
    same: type | None
    required: bool
    finish: Finish


class Plan:
    """How the fields asked for of one object type are answered.

    Attributes:
        fields: those asked for; held, so that what they are known by stays theirs.
        steps: the straight ones.
        others: those that are left to graphql-core, from the start or because a step failed in this operation.
    """

    def __init__(self, fields: dict[str, Any], steps: list[Step]) -> None:
        self.fields = fields
        self.steps = steps
        self.others = self._others()

    def _others(self) -> dict[str, Any]:
        """In the order asked for, as an error in one keeps graphql-core from looking at those behind it."""
        straight = {step.name for step in self.steps}
        return {name: details for name, details in self.fields.items() if name not in straight}

    def leave(self, failed: Step) -> None:
        """Leave a field to graphql-core from now on."""
        self.steps = [step for step in self.steps if step is not failed]
        self.others = self._others()


class Executing(StrawberryGraphQLCoreExecutionContext):
    """The execution of one operation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._around = Around(self.context_value)
        self._plans: dict[int, Plan] = {}

    def build_per_event_executor(self, payload: Any) -> Any:
        """A copy for one event; what it collects is its own, or a long subscription would keep that of all events."""
        executor: Any = super().build_per_event_executor(payload)
        executor._plans, executor._relevant_sub_fields = {}, {}
        return executor

    def execute_fields(
        self, parent_type: GraphQLObjectType, source_value: Any, path: Any, grouped_field_set: Any, position: Any
    ) -> Any:
        """The fields of one object, in the order asked for, or what will give them."""
        plan = self._plan(parent_type, grouped_field_set)
        found: dict[str, Any] = {}
        for step in plan.steps:
            try:
                found[step.name] = _answer(step, source_value)
            except Exception:
                plan.leave(step)
        if not plan.others:
            return found
        rest = super().execute_fields(parent_type, source_value, path, plan.others, position)
        if isinstance(rest, dict):
            return _in_order(plan.fields, found, rest)
        return _later(plan.fields, found, rest)

    def _plan(self, kind: GraphQLObjectType, fields: dict[str, Any]) -> Plan:
        """The plan of a selection, made when the first object comes."""
        plan = self._plans.get(id(fields))
        if plan is None:
            known: dict[str, Straight] = kind.extensions.get(STRAIGHT, {})
            steps = []
            for name, details in fields.items():
                asked = details[0].node.name.value
                if asked == "__typename":
                    steps.append(Step(name, _constant(kind.name), None, str, True, refuse))
                elif (straight := known.get(asked)) is not None:
                    steps.append(self._step(name, straight, details))
            plan = self._plans[id(fields)] = Plan(fields, steps)
        return plan

    def _step(self, name: str, straight: Straight, details: Any) -> Step:
        read, with_info, shape = straight
        same = shape.same if isinstance(shape, Leaf) else None
        around = self._around if with_info else None
        return Step(name, read, around, same, shape.required, self._finish(shape, details))

    def _finish(self, shape: Shape, details: Any) -> Finish:
        """What completes a value of that shape, for the fields asked for below it."""
        if isinstance(shape, Leaf):
            return shape.coerce
        return self._single(shape, details) if isinstance(shape, Single) else self._several(shape, details)

    def _several(self, shape: Several, details: Any) -> Finish:
        required, finish = shape.item.required, self._finish(shape.item, details)

        def finished(values: Any) -> list[Any]:
            if type(values) is not list:
                refuse(values)
            if required and any(value is None for value in values):
                raise NotStraight
            return [None if value is None else finish(value) for value in values]

        return finished

    def _single(self, shape: Single, details: Any) -> Finish:
        kind, classes = shape.kind, shape.classes
        plan: Plan | None = None

        def finished(value: Any) -> dict[str, Any]:
            nonlocal plan
            if type(value) not in classes:
                refuse(value)
            if plan is None:
                fields, deferred, *_ = self.collect_subfields(kind, details)
                if deferred:
                    raise NotStraight
                plan = self._plan(kind, fields)
            if plan.others:
                raise NotStraight
            return {step.name: _answer(step, value) for step in plan.steps}

        return finished


def _answer(step: Step, source: Any) -> Any:
    """The wire form of one straight field of `source`; raises where graphql-core has to look at it."""
    _, read, around, same, required, finish = step
    value = read(source) if around is None else read(source, around)
    if type(value) is same:
        return value
    if value is None:
        if required:
            raise NotStraight
        return None
    return finish(value)


def _constant(value: str) -> Callable[[Any], str]:
    return lambda _: value


async def _later(fields: dict[str, Any], found: dict[str, Any], rest: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """`_in_order`, once the others are there."""
    return _in_order(fields, found, await rest)


def _in_order(fields: dict[str, Any], found: dict[str, Any], rest: dict[str, Any]) -> dict[str, Any]:
    """All answers, in the order asked for; graphql-core leaves out what it does not know."""
    found.update(rest)
    return {name: found[name] for name in fields if name in found}

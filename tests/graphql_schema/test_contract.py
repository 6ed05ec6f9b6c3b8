"""The contract as a whole: printed and committed, described everywhere, a permission on every root field."""

from __future__ import annotations

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLUnionType,
    is_introspection_type,
)

from core.labels import WIDGETS
from core.moderation_records import ACTS, REASONS
from core.oauth_records import CLIENT_KINDS, SESSION_KINDS
from core.people_records import APPEAL_STATES
from core.records import MESSAGE_STATES, REMOVED, ROLES, TASK_KINDS, TASK_STATES, TREE_STATES, USER_ROLES
from core.scopes import SCOPES, SERVICE_ONLY
from graphql_schema import (
    account_types,
    client_types,
    contribution_types,
    enums,
    error_guide,
    export,
    queue_types,
    scoping,
    task_types,
)
from graphql_schema.permissions import LADDER
from graphql_schema.schema import build_schema

SCHEMA = build_schema()
GRAPHQL = SCHEMA._schema  # strawberry has no public way to the graphql-core schema


def test_the_committed_schema_is_the_printed_one():
    assert export.SCHEMA_FILE.read_text() == export.sdl(), "run: python -m graphql_schema.export"


def test_the_tables_in_the_documentation_are_the_generated_ones():
    text = export.LIMITS_FILE.read_text()
    assert text == export.with_tables(text), "run: python -m graphql_schema.export"
    text = export.SIGN_IN_FILE.read_text()
    assert text == export.with_scopes(text), "run: python -m graphql_schema.export"


def test_the_page_of_errors_is_the_generated_one():
    assert export.ERRORS_FILE.read_text() == error_guide.error_page(), "run: python -m graphql_schema.export"


def test_the_page_of_permissions_is_the_generated_one():
    assert export.PERMISSIONS_FILE.read_text() == export.permission_page(), "run: python -m graphql_schema.export"


def test_a_document_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="'limits' once; found 0"):
        export.with_tables("nothing here")


def test_every_root_field_has_exactly_one_known_permission():
    fields = list(export.root_fields(SCHEMA))
    assert {root for root, _, _ in fields} == {"Query", "Mutation", "Subscription"}
    wrong = [f"{root}.{name}" for root, name, field in fields if not _one_known(field.permission_classes)]
    assert wrong == [], "each needs permission_classes=[one of graphql_schema.permissions]"


def test_every_root_field_has_a_scope_or_is_for_unlimited_tokens():
    fields = {name for _, name, _ in export.root_fields(SCHEMA)}
    assert fields - set(scoping.SCOPE_OF) == set(scoping.UNLIMITED_ONLY), "give it a scope in graphql_schema.scoping"
    assert set(scoping.SCOPE_OF) - fields == set()
    assert set(scoping.FIELDS) | SERVICE_ONLY | {"offline_access"} == set(SCOPES)
    listed = [field for fields in scoping.FIELDS.values() for field in fields]
    assert len(listed) == len(set(listed))


def _one_known(classes):
    return len(classes) == 1 and classes[0] in LADDER


def test_mutations_and_subscriptions_are_for_nobody_anonymous():
    # Only signing in can be for those who are not signed in.
    for root, name, field in export.root_fields(SCHEMA):
        if root != "Query" and name != "developmentSignIn":
            assert not export.may(field.permission_classes[0], "anonymous"), f"{root}.{name}"


def test_mutations_take_one_input_and_answer_a_payload_of_their_own():
    payloads = []
    for name, field in GRAPHQL.mutation_type.fields.items():
        assert list(field.args) == ["input"], name
        payload = field.type.of_type if hasattr(field.type, "of_type") else field.type
        assert payload.name == name[0].upper() + name[1:] + "Payload"
        assert "userErrors" in payload.fields
        assert [interface.name for interface in payload.interfaces] == ["Payload"]
        payloads.append(payload.name)
    assert len(set(payloads)) == len(payloads)


def test_lists_that_grow_are_connections_whose_first_is_required():
    for root in (GRAPHQL.query_type, GRAPHQL.type_map["Tree"]):
        for name, field in root.fields.items():
            if "first" in field.args:
                assert str(field.args["first"].type) == "Int!", name
            elif str(field.type).endswith("Connection!"):
                pytest.fail(f"{root.name}.{name} is a connection without `first`")


def _undescribed():
    for name, kind in GRAPHQL.type_map.items():
        if is_introspection_type(kind) or name in ("String", "Int", "Float", "Boolean", "ID"):
            continue
        if not kind.description:
            yield name
        if isinstance(kind, GraphQLEnumType):
            yield from (f"{name}.{value}" for value, about in kind.values.items() if not about.description)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType | GraphQLInputObjectType):
            yield from (f"{name}.{field}" for field, about in kind.fields.items() if not about.description)
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            for field, about in kind.fields.items():
                # `input` says nothing that its type does not say.
                arguments = about.args.items()
                yield from (f"{name}.{field}({a})" for a, arg in arguments if a != "input" and not arg.description)


def test_everything_is_described():
    assert list(_undescribed()) == []


def test_there_is_no_union_and_so_every_payload_can_be_read_the_same_way():
    assert [kind for kind in GRAPHQL.type_map.values() if isinstance(kind, GraphQLUnionType)] == []


@pytest.mark.parametrize(
    ("enum", "values"),
    [
        (enums.Role, ROLES),
        (enums.MessageState, MESSAGE_STATES),
        (enums.Removal, REMOVED),
        (enums.TreeState, TREE_STATES),
        (enums.TaskState, TASK_STATES),
        (enums.TaskKind, ("random", *TASK_KINDS)),
        (enums.LabelName, tuple(WIDGETS)),
        (enums.LabelWidget, tuple(dict.fromkeys(WIDGETS.values()))),
        (enums.UserRole, USER_ROLES),
        (client_types.Scope, tuple(SCOPES)),
        (client_types.ClientKind, CLIENT_KINDS),
        (account_types.SessionKind, SESSION_KINDS),
        (queue_types.ModerationKind, REASONS),
        (queue_types.ModerationAction, ACTS),
        (contribution_types.AppealState, APPEAL_STATES),
    ],
)
def test_enums_are_the_stored_names_in_capitals(enum, values):
    assert {member.value for member in enum} == set(values)
    assert all(member.name == member.value.upper() for member in enum)


def test_each_task_kind_has_a_type_that_implements_task():
    assert set(task_types.TYPE_OF_KIND) == set(TASK_KINDS)
    for kind in task_types.TYPE_OF_KIND.values():
        names = [interface.name for interface in GRAPHQL.type_map[kind.__name__].interfaces]
        assert {"Task", "Node"} <= set(names)


PRIVATE = ("email", "subject", "authMethod", "identity", "isHuman", "votes")


def test_no_type_has_a_private_field():
    for kind in GRAPHQL.type_map.values():
        if isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            assert not set(kind.fields) & set(PRIVATE), kind.name


def test_what_is_served_for_ranking_says_nothing_but_the_text():
    assert set(GRAPHQL.type_map["RankingCandidate"].fields) == {"id", "text"}

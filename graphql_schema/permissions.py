"""Who may use a root field: one-line predicates over the context. Deny by default.

Every root query, mutation and subscription names exactly one of these in `permission_classes`; a test walks the schema
and fails on one that does not. What depends on the object (whose chat, whose task) is checked where it is loaded.
"""

from __future__ import annotations

from typing import Any, ClassVar

from strawberry import BasePermission

from core.errors import Forbidden
from core.moderation_records import may_moderate

from .context import Context, Info
from .scoping import check_scope, check_viewer_scope, has_scope

CONTRIBUTOR = frozenset({"contributor", "trusted", "moderator", "admin"})
MODERATOR = frozenset({"moderator", "admin"})
ADMIN = frozenset({"admin"})
OPERATOR = frozenset({"admin", "service"})


class Permission(BasePermission):
    """Base: `roles` lists who may; None means anyone signed in. A denial says what would be needed."""

    roles: ClassVar[frozenset[str] | None] = None
    who: ClassVar[str]
    hint: ClassVar[str] = ""

    def has_permission(self, source: Any, info: Info, **_: Any) -> bool:
        """True, or raises as `check` does."""
        self.check(info.context, info.field_name)
        return True

    def check(self, context: Context, field: str) -> None:
        """Nothing, where the caller may use that root field.

        Raises:
            Unauthenticated: nobody is signed in.
            Forbidden: roles or scopes do not allow it; says what would.
            OaError: the terms of use are not accepted yet (`TERMS_NOT_ACCEPTED`).
        """
        if not self.allows(context):
            raise Forbidden(f"{field} is for {self.who} only{self.hint}")
        check_scope(context, field)

    def allows(self, context: Context) -> bool:
        """Whether this caller may; raises `Unauthenticated` where nobody is signed in."""
        context.user()
        return self.roles is None or bool(self.roles & context.roles)


class Anyone(Permission):
    """Anyone, signed in or not."""

    who = "anyone"

    def allows(self, context: Context) -> bool:
        """Always."""
        return True


class SignedIn(Permission):
    """Whoever is signed in."""

    who = "signed-in users"


class Contributor(Permission):
    """People who write, review and rank; services do not."""

    who = "contributors"
    hint = "; a service acts for one by X-Act-As"
    roles = CONTRIBUTOR


class Moderator(Permission):
    """Moderators and admins."""

    who = "moderators"
    roles = MODERATOR


class Admin(Permission):
    """Admins."""

    who = "admins"
    roles = ADMIN


class Operator(Permission):
    """Admins and services: those who run training jobs."""

    who = "operators (admins and services)"
    roles = OPERATOR


class DevelopmentOnly(Permission):
    """Anyone, where development sign-in is on (embedded mode); nobody elsewhere."""

    who = "development (OA_MODE=embedded)"

    def allows(self, context: Context) -> bool:
        """Where the app gave a way to sign in."""
        return context.services.sign_in is not None


class ByViewer(BasePermission):
    """For fields of `Viewer` that say more than who somebody is: the token must have the scope of each."""

    def has_permission(self, source: Any, info: Info, **_: Any) -> bool:
        """True, or raises `Forbidden`."""
        check_viewer_scope(info.context, info.field_name)
        return True


def is_moderator(context: Context) -> bool:
    """Whether this caller moderates at all: by the token's roles, and by its scopes where it is limited."""
    return context.viewer is not None and bool(MODERATOR & context.roles) and has_scope(context, "moderate")


def moderates(context: Context, lang: str) -> bool:
    """Whether this caller moderates what is in `lang`: as `is_moderator`, and in the languages that are theirs."""
    if context.viewer is None or not is_moderator(context):
        return False
    return "admin" in context.roles or may_moderate(context.viewer, lang)


def moderated(context: Context) -> tuple[str, ...] | None:
    """The languages that this caller moderates; None for all. Raises `Forbidden` for who is no moderator."""
    if not is_moderator(context):
        raise Forbidden("authorId and search are for moderators only")
    langs = context.user().moderates
    return None if "admin" in context.roles or not langs else langs


LADDER: tuple[type[Permission], ...] = (Anyone, SignedIn, Contributor, Moderator, Admin, Operator, DevelopmentOnly)
"""Every permission there is; `docs/api/permissions.md` shows what each role may by it."""

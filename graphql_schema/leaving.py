"""Mutations on one's own account: a copy of all of one's data, and leaving."""

from __future__ import annotations

from enum import Enum

import strawberry

from core.errors import BadInput

from .context import Info
from .contribution_types import DataExport, people
from .errors import Payload, mutation
from .keyed import Keyed
from .permissions import Contributor


@strawberry.enum(description="The form of an export of one's data.")
class DataFormat(Enum):
    """Forms of an export."""

    JSON = strawberry.enum_value("json", description="One JSON object with a list for each sort of data, gzipped.")


@strawberry.input(description="A wish for all of your data.")
class RequestDataExportInput(Keyed):
    """Input of `requestDataExport`."""

    format: DataFormat = strawberry.field(default=DataFormat.JSON, description="Its form.")


@strawberry.type(description="What became of a wish for your data.")
class RequestDataExportPayload(Payload):
    """Payload of `requestDataExport`."""

    data_export: DataExport | None = strawberry.field(
        default=None, description="`viewer.dataExport` will have its URL."
    )


@strawberry.input(description="Leaving.")
class DeleteAccountInput(Keyed):
    """Input of `deleteAccount`."""

    confirm_name: str = strawberry.field(description="Your display name, as a sign that you mean it.")
    withdraw_contributions: bool = strawberry.field(
        default=False, description="Take your messages along; otherwise they stay, and nobody can tell whose they were."
    )


@strawberry.type(description="What became of an account.")
class DeleteAccountPayload(Payload):
    """Payload of `deleteAccount`."""

    left: bool | None = strawberry.field(default=None, description="True: you are signed out; the rest follows.")


@strawberry.input(description="Whether what you wrote may be learned from.")
class SetTrainingConsentInput(Keyed):
    """Input of `setTrainingConsent`."""

    allow: bool = strawberry.field(description="Whether it may go into data sets that are frozen from now on.")


@strawberry.type(description="What became of your consent.")
class SetTrainingConsentPayload(Payload):
    """Payload of `setTrainingConsent`."""

    allows_training: bool | None = strawberry.field(default=None, description="Whether it may.")


@strawberry.type
class LeavingMutation:
    """One's own account."""

    @mutation(RequestDataExportPayload, Contributor, "Ask for all of your data; at most one new export an hour.")
    async def request_data_export(self, info: Info, input: RequestDataExportInput) -> RequestDataExportPayload:
        """Have it made in the background."""
        made = await people(info.context).request_export(info.context.user())
        return RequestDataExportPayload(data_export=DataExport.of(made, None))

    @mutation(SetTrainingConsentPayload, Contributor, "Say whether what you wrote may go into new data sets.")
    async def set_training_consent(self, info: Info, input: SetTrainingConsentInput) -> SetTrainingConsentPayload:
        """Give consent, or take it back."""
        user = await people(info.context).set_training_consent(info.context.user(), input.allow)
        return SetTrainingConsentPayload(allows_training=user.no_training_since is None)

    @mutation(DeleteAccountPayload, Contributor, "Delete your account, for good.")
    async def delete_account(self, info: Info, input: DeleteAccountInput) -> DeleteAccountPayload:
        """Empty the account now; the rest follows in the background."""
        user = info.context.user()
        if input.confirm_name.strip() != user.display_name:
            raise BadInput("confirmName is not your display name; nothing was deleted", path=("confirm_name",))
        await people(info.context).depart(user, input.withdraw_contributions)
        return DeleteAccountPayload(left=True)

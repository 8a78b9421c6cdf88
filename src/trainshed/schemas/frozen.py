"""The frozen base of all data that crosses a wall."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, and strict about unknown fields: a typo is an error, not silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Received(BaseModel):
    """Immutable data that another version may have sent: unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

"""The frozen base of all data that crosses a wall."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable, and strict: an unknown field is an error and not silence, an infinite number is one too."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class Received(BaseModel):
    """Immutable data that another version may have sent: unknown fields are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

"""How the objects of the API are read: what the models of all of them have in common."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """Frozen, camelCase outside, and closed: an unknown field is an error, not something to overlook."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid")


class Written(Model):
    """What the operator writes itself: another version of it may have known more, which is passed over."""

    model_config = ConfigDict(extra="ignore")

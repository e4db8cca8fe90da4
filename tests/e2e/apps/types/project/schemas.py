from pydantic import BaseModel


class Base(BaseModel):
    id: int


class User(Base):
    name: str
    nick: str | None = None

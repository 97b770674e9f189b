"""Where a QuestDB answers, and a connection to it over the PostgreSQL protocol."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.database import credentials
from flows.errors import UserError

CONNECT_S = 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a database answers. `directory` holds the passwords of an embedded server; else it is None."""

    host: str
    http_port: int
    pg_port: int
    directory: Path | None = None


def connect(endpoint: Endpoint) -> Any:
    """A psycopg connection in autocommit; `with connect(endpoint) as connection: connection.execute(…)`."""
    import psycopg

    who = credentials.login("PG", endpoint.directory)
    try:
        return psycopg.connect(
            host=endpoint.host,
            port=endpoint.pg_port,
            dbname="qdb",
            user=who.user,
            password=who.password,
            autocommit=True,
            connect_timeout=CONNECT_S,
        )
    except psycopg.OperationalError as error:
        where = f"questdb: {endpoint.host}:{endpoint.pg_port} (PostgreSQL)"
        if "invalid username/password" in str(error):
            raise UserError(
                f"{where}: user or password refused: {credentials.refused('PG', endpoint.directory)}"
            ) from None
        raise UserError(
            f"{where}: no connection ({str(error).strip().splitlines()[0]}): is the server running?"
        ) from None

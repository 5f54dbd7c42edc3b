"""State in PostgreSQL: durable, for many machines, and open to the tools of the database's administrator.

It makes its own tables (`plano_*`) in the connection's schema on first use. Where the table of katanemo's Plano is in
the same schema, unknown ids are looked up there; that table is never written.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from selectors import EVENT_READ, DefaultSelector
from typing import Any, ClassVar, Self, TypeVar

import psycopg
from msgspec import structs
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.waiting import wait_async
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from plano.errors import ConfigError
from plano.runtime.renewal import Renewal
from plano.state import postgres_sql as sql
from plano.state.backend import (
    IMPORTED,
    Item,
    Order,
    Page,
    Place,
    Turn,
    chain_too_large,
    conversation_too_large,
    no_such_item,
    total,
)

T = TypeVar("T")

CONNECTIONS = 16
"""The most connections that one process opens."""

PRUNE_AT_ONCE = 20
"""The most trees, and the most conversations, that one statement removes. It is short because others may wait for its
locks."""

IMPORTED_KEY = "imported"


class _Connection(AsyncConnection[Any]):
    """A connection that is closed when an operation on it is cancelled.

    psycopg would ask the server over a second connection to cancel the statement, and wait for the answer. With a
    frozen server that takes longer than any deadline.
    """

    bounded = False
    """Whether the server too limits the time of this connection's statements."""

    opened = 0.0
    """Monotonic seconds before it was opened."""

    @classmethod
    async def connect(cls, *arguments: Any, **options: Any) -> Self:
        """Connects, and ends the pool's worker if that is cancelled meanwhile.

        A worker takes its cancellation for a failure of the server and goes on. An event loop that ends while the
        store is still open would wait for that worker forever."""
        opened = time.monotonic()
        try:
            connection = await super().connect(*arguments, **options)
        except asyncio.CancelledError:
            worker = asyncio.current_task()
            assert worker is not None, "only a task is cancelled"
            _end(worker)
            raise
        connection.opened = opened
        return connection

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
        options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}  # psycopg before 3.3 has none
        try:
            return await wait_async(gen, self.pgconn.socket, interval, **options)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


class PostgresBackend:
    """State in PostgreSQL. The statements are in `plano.state.postgres_sql`.

    Args:
        conninfo: a connection string of libpq; TLS is set by `sslmode` and its companions.
        timeout: seconds for one statement, enforced by the server, and the most that connecting may take.
        import_tenant: the tenant that owns the rows of katanemo Plano's table.

    Raises:
        ConfigError: libpq cannot use the connection string.
    """

    name: ClassVar[str] = "postgres"
    shared: ClassVar[bool] = True
    prunes: ClassVar[bool] = True
    failures: ClassVar[tuple[type[Exception], ...]] = (psycopg.Error, PoolTimeout, PoolClosed, OSError)

    def __init__(self, conninfo: str, *, timeout: float, import_tenant: str) -> None:
        try:
            options = conninfo_to_dict(conninfo)
        except psycopg.Error:  # its message is left out because it repeats parts of the string
            raise ConfigError("state_storage.connection_string: not a connection string that libpq can use") from None
        self._timeout = timeout
        self._import_tenant = import_tenant
        self._imports = False
        self._ready = False
        self._preparing = asyncio.Lock()
        self.renew = Renewal()
        self._pool = AsyncConnectionPool(
            conninfo,
            connection_class=_Connection,
            kwargs={"autocommit": True, "connect_timeout": options.get("connect_timeout", math.ceil(timeout))},
            min_size=0,
            max_size=CONNECTIONS,
            timeout=timeout,
            # The pool's pauses between two tries grow. It gives up early so that the next request tries again.
            reconnect_timeout=timeout,
            open=False,
            name="plano-state",
        )

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        rows = await self._find(sql.GET_CHAIN, tenant=tenant, id=id, now=now, limit=limit)
        if rows and rows[-1][6] > limit:
            raise chain_too_large(rows[-1][6], limit)
        if rows:
            return [_turn(row) for row in rows]
        imported = await self._find_imported(tenant, id)
        if imported and len(imported.payload) > limit:
            raise chain_too_large(len(imported.payload), limit)
        return [imported] if imported else []

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None:
        rows = await self._find(sql.GET, tenant=tenant, id=id, now=now)
        return _turn(rows[0]) if rows else await self._find_imported(tenant, id)

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> Turn:
        parent = None
        if after is not None and after.key == IMPORTED_KEY:
            # This copies the imported history into our own tables, once.
            parent = await self._put(tenant, after, None, expires)
        elif after is not None:
            parent = Place.parse(after.key)
        return structs.replace(turn, key=str(await self._put(tenant, turn, parent, expires)))

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        return bool(await self._run(sql.DELETE, tenant=tenant, id=id, now=now))

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        rows = await self._run(
            sql.CREATE_CONVERSATION, tenant=tenant, id=id, head=head, now=now, expires=expires, **_columns(items)
        )
        return bool(rows)

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        rows = await self._find(sql.GET_CONVERSATION, tenant=tenant, id=id, now=now)
        return rows[0][0] if rows else None

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        return bool(await self._run(sql.UPDATE_CONVERSATION, tenant=tenant, id=id, head=head, now=now, expires=expires))

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        return bool(await self._run(sql.DELETE_CONVERSATION, tenant=tenant, id=id, now=now))

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        columns = _columns(items)
        if await self._run(sql.APPEND_ITEMS, tenant=tenant, id=id, now=now, expires=expires, limit=limit, **columns):
            return True
        found = await self._find(sql.GET_CONVERSATION, tenant=tenant, id=id, now=now)
        if found:
            raise conversation_too_large(found[0][1] + columns["size"], limit)
        return False

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None:
        rows = await self._find(sql.LIST_ITEMS[order], tenant=tenant, id=id, now=now, limit=limit + 1, after=after)
        if not rows:
            return None
        if after is not None and rows[0][0] is None:
            raise no_such_item(after)
        items = [Item(id, payload) for _, id, payload in rows if id is not None]
        return Page(items[:limit], len(items) > limit)

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None:
        rows = await self._find(sql.GET_ITEM, tenant=tenant, id=id, item=item, now=now)
        return Item(*rows[0]) if rows else None

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool:
        return bool(await self._run(sql.DELETE_ITEM, tenant=tenant, id=id, item=item, now=now))

    async def prune(self, *, now: float) -> int:
        ((removed,),) = await self._run(sql.PRUNE, now=now, limit=PRUNE_AT_ONCE)
        return int(removed)

    async def ping(self) -> None:
        await self._run(sql.PING)

    async def aclose(self) -> None:
        await self._pool.close()

    async def _put(self, tenant: str, turn: Turn, parent: Place | None, expires: float) -> Place:
        size = len(turn.payload) + (parent.size if parent else 0)
        ((tree, seq),) = await self._run(
            sql.PUT_NEXT if parent else sql.PUT_FIRST,
            tree=int(parent.tree) if parent else None,
            parent=int(parent.row) if parent else None,
            size=size,
            expires=expires,
            created=turn.created,
            tenant=tenant,
            id=turn.id,
            parent_id=turn.parent,
            kind=turn.kind,
            payload=turn.payload,
        )
        return Place(str(tree), str(seq), size)

    async def _find_imported(self, tenant: str, id: str) -> Turn | None:
        if not self._imports or tenant != self._import_tenant:
            return None
        rows = await self._run(sql.GET_IMPORTED, id=id)
        if not rows:
            return None
        id, items, created = rows[0]
        return Turn(id=id, kind=IMPORTED, created=float(created), payload=items.encode(), key=IMPORTED_KEY)

    async def _find(self, statement: str, **values: Any) -> list[Any]:
        """Reads rows. If there are none, the server has to be one that takes writes, because a replica may not have
        them yet. That takes one more round trip."""
        return await self._tried_again(statement, values, sql.CONFIRM)

    async def _run(self, statement: str, **values: Any) -> list[Any]:
        return await self._tried_again(statement, values)

    async def _tried_again(self, statement: str, values: dict[str, Any], confirm: str | None = None) -> list[Any]:
        """Executes a statement, a second time on another connection if the server is read-only: it may have been
        demoted while its connections stayed open. Such a server has done nothing."""
        try:
            return await self._execute(statement, values, confirm)
        except ReadOnlySqlTransaction:
            self.renew()
        return await self._execute(statement, values, confirm)

    async def _execute(self, statement: str, values: dict[str, Any], confirm: str | None) -> list[Any]:
        if not self._ready:
            await self._prepare()
        async with self._connection() as connection:
            cursor = await connection.execute(statement, values, binary=True)
            rows = await cursor.fetchall()
            if confirm and not rows:
                await connection.execute(confirm)
            return rows

    async def _prepare(self) -> None:
        async with self._preparing:
            if self._ready:
                return
            await self._pool.open()
            async with self._connection() as connection:
                self._imports = await _migrate(connection)
            self._ready = True

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        connection = await self._usable()
        try:
            await self._bound(connection)
            yield connection
        finally:
            await self._pool.putconn(connection)

    async def _usable(self) -> _Connection:
        """Takes a connection that the server has not closed and that no renewal outdates.

        The pool's own `check` would pause for a second or more after the second closed one, so that a request after a
        restart of the server would fail.
        """
        for _ in range(CONNECTIONS + 1):
            connection = await self._pool.getconn()
            if not self.renew.outdates(connection.opened) and _is_open(connection):
                return connection
            connection.pgconn.finish()
            await self._pool.putconn(connection)
        raise psycopg.OperationalError("the server closes its connections at once")

    async def _bound(self, connection: _Connection) -> None:
        # Without the limit, a statement that waits for a lock goes on in the server after its caller has given up.
        if not connection.bounded:
            await connection.execute(f"SET statement_timeout = {max(1, int(self._timeout * 1000))}")
            connection.bounded = True


def _end(worker: asyncio.Task[Any]) -> None:
    """Cancels a task again and again until it has ended."""
    if not worker.done():
        worker.cancel()
        worker.get_loop().call_soon(_end, worker)


def _is_open(connection: _Connection) -> bool:
    """Finds out without a round trip whether the server has closed an idle connection: the server sends nothing on one
    except its goodbye."""
    with DefaultSelector() as selector:
        selector.register(connection.pgconn.socket, EVENT_READ)
        return not selector.select(timeout=0)


async def _migrate(connection: _Connection) -> bool:
    """Brings the tables up to date and returns whether the table of katanemo's Plano is there."""
    versioned, imports = await _row(connection, sql.FIND_VERSION)
    if versioned and (await _row(connection, sql.READ_VERSION))[0] >= len(sql.MIGRATIONS):
        return bool(imports)
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [sql.MIGRATION_LOCK])
        await connection.execute(sql.CREATE_VERSION)
        (version,) = await _row(connection, sql.READ_VERSION)
        for number, statements in enumerate(sql.MIGRATIONS[version:], start=version + 1):
            for statement in statements:
                await connection.execute(statement)
            await connection.execute(sql.WRITE_VERSION, [number])
    return bool(imports)


async def _row(connection: _Connection, statement: str) -> Any:
    return await (await connection.execute(statement)).fetchone()


def _turn(row: Sequence[Any]) -> Turn:
    id, parent, kind, created, tree, seq, size, payload = row
    key = str(Place(str(tree), str(seq), size))
    return Turn(id=id, parent=parent, kind=kind, created=created, payload=payload, key=key)


def _columns(items: Sequence[Item]) -> dict[str, Any]:
    return {
        "ids": [item.id for item in items],
        "payloads": [item.payload for item in items],
        "size": total(items),
    }

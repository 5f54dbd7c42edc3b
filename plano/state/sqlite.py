"""State in one SQLite file: durable, for the workers of one machine, with nothing to install.

The file is in WAL mode with `synchronous=FULL`, so a turn is acknowledged when it is on the disk. One thread writes and
commits all waiting jobs together; two threads read. Processes share the file through SQLite's own locks.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from msgspec import structs

from plano.state.backend import (
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
from plano.state.threads import FileConnection, Threads, Work, read, write

T = TypeVar("T")

READERS = 2
"""Threads that read."""

WRITES_TOGETHER = 64
"""The most jobs in one transaction."""

PRUNE_AT_ONCE = 20
"""The most trees, and the most conversations, that one step removes. It is short because writes wait for it."""

# AUTOINCREMENT: no row's number is ever used again, so a pointer to a deleted row leads nowhere.
MIGRATIONS = (
    (
        "CREATE TABLE trees (tree INTEGER PRIMARY KEY AUTOINCREMENT, expires REAL NOT NULL)",
        "CREATE INDEX trees_expires ON trees (expires)",
        """CREATE TABLE turns (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, tree INTEGER NOT NULL, parent INTEGER, size INTEGER NOT NULL,
            expires REAL NOT NULL, tenant TEXT NOT NULL, id TEXT NOT NULL, parent_id TEXT, kind TEXT NOT NULL,
            created REAL NOT NULL, payload BLOB NOT NULL)""",
        "CREATE INDEX turns_id ON turns (tenant, id)",
        "CREATE INDEX turns_tree ON turns (tree)",
        """CREATE TABLE conversations (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, tenant TEXT NOT NULL, id TEXT NOT NULL, size INTEGER NOT NULL,
            expires REAL NOT NULL, head BLOB NOT NULL, UNIQUE (tenant, id))""",
        "CREATE INDEX conversations_expires ON conversations (expires)",
        """CREATE TABLE items (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, conversation INTEGER NOT NULL, id TEXT NOT NULL,
            payload BLOB NOT NULL)""",
        "CREATE INDEX items_conversation ON items (conversation)",
        "CREATE INDEX items_id ON items (conversation, id)",
    ),
)
"""One tuple of statements per version of the tables; `PRAGMA user_version` says how many have run."""

TURN = "t.id, t.parent_id, t.kind, t.created, t.tree, t.seq, t.size"

GET = f"""
SELECT {TURN}, t.payload FROM turns t
WHERE t.tenant = :tenant AND t.id = :id AND t.expires > :now ORDER BY t.seq DESC LIMIT 1"""

# The walk reads numbers only. For a chain over the limit only its last turn is returned, without its payload.
GET_CHAIN = f"""
WITH RECURSIVE chain (seq, parent, tree, size, depth) AS (
    SELECT * FROM (
        SELECT seq, parent, tree, size, 0 FROM turns
        WHERE tenant = :tenant AND id = :id AND expires > :now ORDER BY seq DESC LIMIT 1)
    UNION ALL
    SELECT t.seq, t.parent, t.tree, t.size, chain.depth + 1
    FROM chain JOIN turns t ON t.seq = chain.parent AND t.tree = chain.tree WHERE chain.size <= :limit)
SELECT {TURN}, CASE WHEN t.size <= :limit THEN t.payload END
FROM chain JOIN turns t ON t.seq = chain.seq ORDER BY chain.depth DESC"""

PUT_TREE = """
INSERT INTO trees (tree, expires) VALUES (:tree, :expires)
ON CONFLICT (tree) DO UPDATE SET expires = max(expires, excluded.expires)"""

PUT_TURN = """
INSERT INTO turns (tree, parent, size, expires, tenant, id, parent_id, kind, created, payload)
VALUES (:tree, :parent, :size, :expires, :tenant, :id, :parent_id, :kind, :created, :payload)"""

FIND_CONVERSATION = "SELECT seq, size, head FROM conversations WHERE tenant = ? AND id = ? AND expires > ?"


class SqliteBackend:
    """State in one SQLite file for all tenants.

    Args:
        path: the file. If it does not exist, it is made, readable for its owner only.
        patience: seconds to wait for another process that holds the lock.
    """

    name: ClassVar[str] = "sqlite"
    shared: ClassVar[bool] = True
    prunes: ClassVar[bool] = True
    failures: ClassVar[tuple[type[Exception], ...]] = (sqlite3.Error, OSError)

    def __init__(self, path: str, *, patience: float) -> None:
        self._path = path
        self._patience = patience
        self._readers = Threads(self._connect, read, count=READERS, batch=1)
        self._writer = Threads(self._connect, write, count=1, batch=WRITES_TOGETHER)

    async def get_chain(self, tenant: str, id: str, *, now: float, limit: int) -> list[Turn]:
        names = {"tenant": tenant, "id": id, "now": now, "limit": limit}
        rows = await self._read(lambda db: db.execute(GET_CHAIN, names).fetchall())
        if rows and rows[-1][6] > limit:
            raise chain_too_large(rows[-1][6], limit)
        return [_turn(row) for row in rows]

    async def get(self, tenant: str, id: str, *, now: float) -> Turn | None:
        row = await self._read(lambda db: db.execute(GET, {"tenant": tenant, "id": id, "now": now}).fetchone())
        return _turn(row) if row else None

    async def put(self, tenant: str, turn: Turn, after: Turn | None, *, now: float, expires: float) -> Turn:
        parent = Place.parse(after.key) if after else None
        size = len(turn.payload) + (parent.size if parent else 0)
        values = {
            "tenant": tenant,
            "id": turn.id,
            "parent_id": turn.parent,
            "kind": turn.kind,
            "created": turn.created,
            "payload": turn.payload,
            "parent": int(parent.row) if parent else None,
            "size": size,
            "expires": expires,
        }

        def work(db: sqlite3.Connection) -> str:
            made = db.execute(PUT_TREE, {"tree": int(parent.tree) if parent else None, "expires": expires})
            tree = int(parent.tree) if parent else made.lastrowid
            seq = db.execute(PUT_TURN, values | {"tree": tree}).lastrowid
            return str(Place(str(tree), str(seq), size))

        return structs.replace(turn, key=await self._write(work))

    async def delete(self, tenant: str, id: str, *, now: float) -> bool:
        return await self._write(
            lambda db: _changed(db, "DELETE FROM turns WHERE tenant = ? AND id = ? AND expires > ?", tenant, id, now)
        )

    async def create_conversation(
        self, tenant: str, id: str, head: bytes, items: Sequence[Item], *, now: float, expires: float
    ) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            if db.execute(FIND_CONVERSATION, (tenant, id, now)).fetchone():
                return False
            stale = db.execute("SELECT seq FROM conversations WHERE tenant = ? AND id = ?", (tenant, id))
            _delete_conversations(db, stale.fetchall())
            made = db.execute(
                "INSERT INTO conversations (tenant, id, size, expires, head) VALUES (?, ?, ?, ?, ?)",
                (tenant, id, total(items), expires, head),
            )
            _insert_items(db, made.lastrowid, items)
            return True

        return await self._write(work)

    async def get_conversation(self, tenant: str, id: str, *, now: float) -> bytes | None:
        row = await self._read(lambda db: db.execute(FIND_CONVERSATION, (tenant, id, now)).fetchone())
        return row[2] if row else None

    async def update_conversation(self, tenant: str, id: str, head: bytes, *, now: float, expires: float) -> bool:
        sql = "UPDATE conversations SET head = ?, expires = max(expires, ?) WHERE tenant = ? AND id = ? AND expires > ?"
        return await self._write(lambda db: _changed(db, sql, head, expires, tenant, id, now))

    async def delete_conversation(self, tenant: str, id: str, *, now: float) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            found = db.execute(FIND_CONVERSATION, (tenant, id, now)).fetchall()
            _delete_conversations(db, found)
            return bool(found)

        return await self._write(work)

    async def append_items(
        self, tenant: str, id: str, items: Sequence[Item], *, now: float, expires: float, limit: int
    ) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            found = db.execute(FIND_CONVERSATION, (tenant, id, now)).fetchone()
            if found is None:
                return False
            size = found[1] + total(items)
            if size > limit:
                raise conversation_too_large(size, limit)
            _insert_items(db, found[0], items)
            sql = "UPDATE conversations SET size = ?, expires = max(expires, ?) WHERE seq = ?"
            return _changed(db, sql, size, expires, found[0])

        return await self._write(work)

    async def list_items(
        self, tenant: str, id: str, *, limit: int, after: str | None, order: Order, now: float
    ) -> Page | None:
        compare, direction = (">", "ASC") if order == "asc" else ("<", "DESC")

        def work(db: sqlite3.Connection) -> Page | None:
            found = db.execute(FIND_CONVERSATION, (tenant, id, now)).fetchone()
            if found is None:
                return None
            where, values = "conversation = ?", [found[0]]
            if after is not None:
                where, values = f"{where} AND seq {compare} ?", [*values, _item_number(db, found[0], after)]
            rows = db.execute(
                f"SELECT id, payload FROM items WHERE {where} ORDER BY seq {direction} LIMIT ?", [*values, limit + 1]
            ).fetchall()
            return Page([Item(*row) for row in rows[:limit]], len(rows) > limit)

        return await self._read(work)

    async def get_item(self, tenant: str, id: str, item: str, *, now: float) -> Item | None:
        sql = """SELECT i.id, i.payload FROM conversations c JOIN items i ON i.conversation = c.seq
            WHERE c.tenant = ? AND c.id = ? AND c.expires > ? AND i.id = ? ORDER BY i.seq DESC LIMIT 1"""
        row = await self._read(lambda db: db.execute(sql, (tenant, id, now, item)).fetchone())
        return Item(*row) if row else None

    async def delete_item(self, tenant: str, id: str, item: str, *, now: float) -> bool:
        def work(db: sqlite3.Connection) -> bool:
            found = db.execute(FIND_CONVERSATION, (tenant, id, now)).fetchone()
            if found is None:
                return False
            sql = "SELECT total(length(payload)) FROM items WHERE conversation = ? AND id = ?"
            (size,) = db.execute(sql, (found[0], item)).fetchone()
            db.execute("UPDATE conversations SET size = size - ? WHERE seq = ?", (int(size), found[0]))
            return _changed(db, "DELETE FROM items WHERE conversation = ? AND id = ?", found[0], item)

        return await self._write(work)

    async def prune(self, *, now: float) -> int:
        def work(db: sqlite3.Connection) -> int:
            trees = _expired(db, "SELECT tree FROM trees WHERE expires <= ? LIMIT ?", now)
            db.executemany("DELETE FROM turns WHERE tree = ?", trees)
            db.executemany("DELETE FROM trees WHERE tree = ?", trees)
            conversations = _expired(db, "SELECT seq FROM conversations WHERE expires <= ? LIMIT ?", now)
            _delete_conversations(db, conversations)
            return len(trees) + len(conversations)

        return await self._write(work)

    def renew(self) -> None:
        return  # there are no connections

    async def ping(self) -> None:
        # Real trees are numbered from 1. Tree 0 has expired and is pruned like any other.
        await self._write(lambda db: db.execute(PUT_TREE, {"tree": 0, "expires": 0.0}).rowcount)

    async def aclose(self) -> None:
        for threads in (self._readers, self._writer):
            await asyncio.to_thread(threads.close)

    async def _read(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._readers.submit(work))

    async def _write(self, work: Work[T]) -> T:
        return await asyncio.wrap_future(self._writer.submit(work))

    def _connect(self) -> FileConnection:
        Path(self._path).touch(mode=0o600)  # SQLite gives its WAL the same permissions
        db = sqlite3.connect(self._path, timeout=self._patience, isolation_level=None, factory=FileConnection)
        try:
            db.note_file(self._path)
            self._switch_to_wal(db)
            # secure_delete: deleted rows are overwritten, not only unlinked.
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA secure_delete = ON")
            _migrate(db)
        except BaseException:
            db.close()
            raise
        return db

    def _switch_to_wal(self, db: sqlite3.Connection) -> None:
        # SQLite's busy timeout does not cover this switch when several processes make it at once.
        give_up = time.monotonic() + self._patience
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.01)


def _migrate(db: sqlite3.Connection) -> None:
    if _version(db) >= len(MIGRATIONS):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[_version(db) :]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _version(db: sqlite3.Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _turn(row: tuple[Any, ...]) -> Turn:
    id, parent, kind, created, tree, seq, size, payload = row
    key = str(Place(str(tree), str(seq), size))
    return Turn(id=id, parent=parent, kind=kind, created=created, payload=payload, key=key)


def _changed(db: sqlite3.Connection, sql: str, *values: Any) -> bool:
    return db.execute(sql, values).rowcount > 0


def _insert_items(db: sqlite3.Connection, conversation: int | None, items: Sequence[Item]) -> None:
    db.executemany(
        "INSERT INTO items (conversation, id, payload) VALUES (?, ?, ?)",
        [(conversation, item.id, item.payload) for item in items],
    )


def _item_number(db: sqlite3.Connection, conversation: int, item: str) -> int:
    sql = "SELECT max(seq) FROM items WHERE conversation = ? AND id = ?"
    (number,) = db.execute(sql, (conversation, item)).fetchone()
    if number is None:
        raise no_such_item(item)
    return int(number)


def _expired(db: sqlite3.Connection, sql: str, now: float) -> list[tuple[int]]:
    return db.execute(sql, (now, PRUNE_AT_ONCE)).fetchall()


def _delete_conversations(db: sqlite3.Connection, rows: Sequence[tuple[int, ...]]) -> None:
    for row in rows:
        db.execute("DELETE FROM items WHERE conversation = ?", row[:1])
        db.execute("DELETE FROM conversations WHERE seq = ?", row[:1])

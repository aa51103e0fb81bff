"""The reservation journal: every release is written down before its noise is drawn, and published once.

A release goes reserved -> committed -> published and never back. Reserving charges every patient of the
release; it happens before anything is drawn, in one transaction. Committing fixes the hash of the finished
release; from then on only those bytes may be published. A crash before the commit leaves a reservation whose
draws nobody outside has seen: they are discarded and drawn afresh under the same charge. No noise, no key and
no seed is ever stored, so whoever reads the journal cannot subtract the noise.

Rows are append-only; the only change ever made to one is its state. The journal names patients: keep it as
safe as the originals.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Literal

from sqlalchemy import URL, Connection, Engine, ForeignKey, create_engine, event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from veilray.errors import Refused
from veilray.ledger.budget import Budget
from veilray.ledger.location import ledger_path
from veilray.privacy.composition import events_of
from veilray.privacy.exact import decimal_text
from veilray.privacy.guarantee import Guarantee
from veilray.text import patient_key

__all__ = ["Journal", "ReleaseRow", "ReleaseState"]


class ReleaseState(StrEnum):
    """How far a release has come."""

    RESERVED = "reserved"
    COMMITTED = "committed"
    PUBLISHED = "published"


@dataclass(frozen=True)
class ReleaseRow:
    """One release as the journal knows it.

    `digest` is the SHA-256 of release.json, once committed. `out` is the path it is published at; None where it was
    reserved by a version that did not write it down.
    """

    identifier: str
    state: ReleaseState
    created: datetime
    guarantee: Guarantee
    digest: str | None
    out: str | None = None


class _Base(DeclarativeBase):
    pass


class _Release(_Base):
    __tablename__ = "release"
    identifier: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[str]
    state: Mapped[str]
    guarantee: Mapped[str]
    digest: Mapped[str | None]
    out: Mapped[str | None]


class _Charge(_Base):
    __tablename__ = "charge"
    identifier: Mapped[str] = mapped_column(ForeignKey("release.identifier"), primary_key=True)
    patient: Mapped[str] = mapped_column(primary_key=True)
    images: Mapped[int]
    epsilon: Mapped[str]
    delta: Mapped[str]


class _Policy(_Base):
    __tablename__ = "policy"
    identifier: Mapped[int] = mapped_column(primary_key=True)
    epsilon: Mapped[str]
    delta: Mapped[str]
    accounting: Mapped[str]


class Journal:
    """Reservations in one SQLite file of mode 0600, made on first use.

    Args:
        path: the file, as `ledger_path` reads it; its folder is made with mode 0700 when absent.

    Raises:
        ValueError: where the file is no journal of this project.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path = ledger_path(path)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": 60})
        event.listen(self._engine, "connect", _make_durable)
        event.listen(self._engine, "begin", _begin_alone)
        try:
            self._make_tables()
        except DatabaseError as error:
            raise ValueError(f"ledger must be a SQLite file of veilray, got {path}: {error.orig}") from None

    def _make_tables(self) -> None:
        """Make the tables of a new journal, and the columns that one of an earlier version does not have yet.

        Raises:
            ValueError: for a database of something else that has a table of the same name.
        """
        with self._engine.begin() as connection:
            there = {str(row[1]) for row in connection.exec_driver_sql("PRAGMA table_info(release)")}
            if there and not {"identifier", "created", "state", "guarantee", "digest"} <= there:
                raise ValueError(f"ledger must be a SQLite file of veilray, got {self.path}: it holds other tables")
            _Base.metadata.create_all(connection)
            if there and "out" not in there:  # as earlier versions made it
                connection.exec_driver_sql("ALTER TABLE release ADD COLUMN out VARCHAR")

    def reserve(
        self,
        identifier: str,
        guarantee: Guarantee,
        images_of: Mapping[str, int],
        *,
        unidentified: int = 0,
        out: str | Path | None = None,
    ) -> None:
        """Write the release down and charge its patients, before anything is drawn.

        Args:
            identifier: new and random; never used before.
            guarantee: the whole claim, with `releases` filled in.
            images_of: how many records of each patient are released. Keys are compared in their normal form (see
                `veilray.text.patient_key`), with those that an earlier version wrote down in another form too.
            unidentified: how many records have no patient key. Nobody can add up what is spent of them.
            out: where the release is published, for the owner to know it by.

        Raises:
            Refused: when a patient would be spent beyond the budget, or a budget is set and an image has no patient
                key; then nothing at all is charged.
        """
        images_of, unnamed = _merged(images_of)
        unidentified += unnamed
        epsilon, delta = guarantee.total_image_epsilon, guarantee.image_delta
        row = _Release(
            identifier=identifier,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            state=ReleaseState.RESERVED.value,
            guarantee=guarantee.to_json(),
            digest=None,
            out=None if out is None else str(out),
        )
        charges = [
            _Charge(
                identifier=identifier,
                patient=patient,
                images=count,
                epsilon=str(count * epsilon),
                delta=str(count * delta),
            )
            for patient, count in images_of.items()
        ]
        try:
            with self._transaction() as session:
                self._keep_budget(session, guarantee, images_of, unidentified)
                session.add(row)
                session.flush()
                session.add_all(charges)
        except IntegrityError:
            raise Refused(f"release identifier must be new, got {identifier} twice") from None

    @property
    def budget(self) -> Budget | None:
        """The policy of this ledger; None until it is set."""
        with Session(self._engine) as session:
            return _budget(session)

    def set_budget(self, budget: Budget) -> None:
        """Set the policy, once. Raises Refused when it is set: a budget that can be raised is none."""
        with self._transaction() as session:
            if _budget(session) is not None:
                raise Refused(f"the budget of {self.path} is set and cannot be changed: use another ledger")
            session.add(
                _Policy(
                    identifier=1,
                    epsilon=str(budget.epsilon),
                    delta=str(budget.delta),
                    accounting=budget.accounting,
                )
            )

    def _keep_budget(
        self, session: Session, guarantee: Guarantee, images_of: Mapping[str, int], unidentified: int
    ) -> None:
        """Refuse a release that takes any patient beyond the budget, or whose patients are not known."""
        budget = _budget(session)
        if budget is None:
            return
        record = guarantee.record
        if unidentified:
            where = "by a layout or a manifest" if record == "image" else "by a column that the schema calls patient"
            raise Refused(
                f"a patient key must be given for every {record} under a budget, got {unidentified:,} {record}s "
                f"without: name patients {where}, or use a ledger without a budget"
            )
        written = _written_as(session)
        for patient, count in images_of.items():
            earlier = session.execute(
                select(_Charge.images, _Release.guarantee)
                .join(_Release)
                .where(_Charge.patient.in_(written.get(patient, [])))
            )
            events = [
                replace(one, count=images * one.count)
                for images, claim in [(count, guarantee), *((n, Guarantee.from_json(text)) for n, text in earlier)]
                for one in events_of(claim)
            ]
            if not budget.allows(events):
                raise Refused(
                    f"the budget of a patient is epsilon {decimal_text(budget.epsilon)}, and this release would take "
                    f"one to {decimal_text(budget.spent(events).epsilon)}: release fewer {record}s of a patient, or "
                    "ask for a smaller epsilon"
                )

    def commit(self, identifier: str, digest: str) -> None:
        """Fix the finished release by its SHA-256. Committing the same bytes again changes nothing."""
        with self._transaction() as session:
            row = self._find(session, identifier)
            if row.digest is None and row.state == ReleaseState.RESERVED:
                row.state, row.digest = ReleaseState.COMMITTED.value, digest
            elif row.digest != digest:
                raise Refused(f"release {identifier} was committed with other bytes: it must not be drawn again")

    def publish(self, identifier: str) -> None:
        """Note that the committed bytes are out."""
        with self._transaction() as session:
            row = self._find(session, identifier)
            if row.state == ReleaseState.RESERVED:
                raise Refused(f"release {identifier} must be committed before it is published")
            row.state = ReleaseState.PUBLISHED.value

    def release(self, identifier: str) -> ReleaseRow:
        """One release. Raises Refused when the journal does not know it."""
        with Session(self._engine) as session:
            return _as_row(self._find(session, identifier))

    def releases(self) -> list[ReleaseRow]:
        """All releases, oldest first."""
        with Session(self._engine) as session:
            return [_as_row(row) for row in session.scalars(select(_Release).order_by(_Release.created))]

    def spent(self, patient: str) -> Fraction:
        """Sum of epsilon over all releases of a patient, whatever became of them and however the key is written."""
        key = patient_key(patient)
        with Session(self._engine) as session:
            written = [] if key is None else _written_as(session).get(key, [])
            epsilons = session.scalars(select(_Charge.epsilon).where(_Charge.patient.in_(written)))
            return sum((Fraction(epsilon) for epsilon in epsilons), Fraction(0))

    def patients(self) -> int:
        """How many patients have ever been charged."""
        with Session(self._engine) as session:
            return len(_written_as(session))

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with Session(self._engine) as session, session.begin():
            yield session

    @staticmethod
    def _find(session: Session, identifier: str) -> _Release:
        row = session.get(_Release, identifier)
        if row is None:
            raise Refused(f"release {identifier} must be in the ledger, got none: use the ledger it was made with")
        return row

    @property
    def engine(self) -> Engine:
        """The database behind the journal, for tests."""
        return self._engine


def _as_row(row: _Release) -> ReleaseRow:
    return ReleaseRow(
        row.identifier,
        ReleaseState(row.state),
        datetime.fromisoformat(row.created),
        Guarantee.from_json(row.guarantee),
        row.digest,
        row.out,
    )


def _merged(images_of: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """One entry per patient, however the key is written, and how many records have a key that says nothing."""
    merged: Counter[str | None] = Counter()
    for patient, count in images_of.items():
        merged[patient_key(patient)] += count
    unnamed = merged.pop(None, 0)
    return {patient: count for patient, count in merged.items() if patient is not None}, unnamed


def _written_as(session: Session) -> dict[str, list[str]]:
    """Each charged patient's key in normal form, and the forms in which the journal holds it.

    Charges are written in normal form. An earlier version only trimmed them, and a charge is never rewritten: what it
    wrote as `7.0` was spent of the same person as 7.
    """
    written: dict[str, list[str]] = {}
    for stored in session.scalars(select(_Charge.patient).distinct()):
        written.setdefault(patient_key(stored) or stored, []).append(stored)
    return written


def _budget(session: Session) -> Budget | None:
    row = session.get(_Policy, 1)
    if row is None:
        return None
    accounting: Literal["sum", "gdp"] = "gdp" if row.accounting == "gdp" else "sum"
    return Budget(Fraction(row.epsilon), Fraction(row.delta), accounting)


def _begin_alone(connection: Connection) -> None:
    """Take the write lock before reading: two releases must not both fit into what is left for one."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_durable(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # transactions begin where we say
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=FULL")  # a charge must survive a power cut before its noise is drawn
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()

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

import platformdirs
from sqlalchemy import Connection, Engine, ForeignKey, create_engine, event, func, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import ConnectionPoolEntry

from veilray.errors import Refused
from veilray.ledger.budget import Budget
from veilray.privacy.composition import events_of
from veilray.privacy.exact import decimal_text
from veilray.privacy.guarantee import Guarantee

__all__ = ["Journal", "ReleaseRow", "ReleaseState", "default_ledger"]


class ReleaseState(StrEnum):
    """How far a release has come."""

    RESERVED = "reserved"
    COMMITTED = "committed"
    PUBLISHED = "published"


@dataclass(frozen=True)
class ReleaseRow:
    """One release as the journal knows it. `digest` is the SHA-256 of release.json, once committed."""

    identifier: str
    state: ReleaseState
    created: datetime
    guarantee: Guarantee
    digest: str | None


class _Base(DeclarativeBase):
    pass


class _Release(_Base):
    __tablename__ = "release"
    identifier: Mapped[str] = mapped_column(primary_key=True)
    created: Mapped[str]
    state: Mapped[str]
    guarantee: Mapped[str]
    digest: Mapped[str | None]


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


def default_ledger() -> Path:
    """Where the journal lies unless told otherwise: `$VEILRAY_LEDGER`, else the user's data folder."""
    told = os.environ.get("VEILRAY_LEDGER")
    return Path(told) if told else Path(platformdirs.user_data_dir("veilray")) / "ledger.sqlite"


class Journal:
    """Reservations in one SQLite file of mode 0600, made on first use.

    Args:
        path: the file; its folder is made with mode 0700 when absent.

    Raises:
        ValueError: where the file is no journal of this project.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 60})
        event.listen(self._engine, "connect", _make_durable)
        event.listen(self._engine, "begin", _begin_alone)
        try:
            _Base.metadata.create_all(self._engine)
        except DatabaseError as error:
            raise ValueError(f"ledger must be a SQLite file of veilray, got {path}: {error.orig}") from None

    def reserve(
        self, identifier: str, guarantee: Guarantee, images_of: Mapping[str, int], *, unidentified: int = 0
    ) -> None:
        """Write the release down and charge its patients, before anything is drawn.

        Args:
            identifier: new and random; never used before.
            guarantee: the whole claim, with `releases` filled in.
            images_of: how many images of each patient are released; keys are compared without outer blanks.
            unidentified: how many images have no patient key. Nobody can add up what is spent of them.

        Raises:
            Refused: when a patient would be spent beyond the budget, or a budget is set and an image has no patient
                key; then nothing at all is charged.
        """
        images_of = _merged(images_of)
        epsilon, delta = guarantee.total_image_epsilon, guarantee.image_delta
        row = _Release(
            identifier=identifier,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            state=ReleaseState.RESERVED.value,
            guarantee=guarantee.to_json(),
            digest=None,
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
        if unidentified:
            raise Refused(
                f"a patient key must be given for every image under a budget, got {unidentified:,} images without: "
                "name patients by a layout or a manifest, or use a ledger without a budget"
            )
        for patient, count in images_of.items():
            earlier = session.execute(
                select(_Charge.images, _Release.guarantee).join(_Release).where(_Charge.patient == patient)
            )
            events = [
                replace(one, count=images * one.count)
                for images, claim in [(count, guarantee), *((n, Guarantee.from_json(text)) for n, text in earlier)]
                for one in events_of(claim)
            ]
            if not budget.allows(events):
                raise Refused(
                    f"the budget of a patient is epsilon {decimal_text(budget.epsilon)}, and this release would take "
                    f"one to {decimal_text(budget.spent(events).epsilon)}: release fewer images of a patient, or ask "
                    "for a smaller epsilon"
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
        """Sum of epsilon over all releases of a patient, whatever became of them."""
        with Session(self._engine) as session:
            epsilons = session.scalars(select(_Charge.epsilon).where(_Charge.patient == patient.strip()))
            return sum((Fraction(epsilon) for epsilon in epsilons), Fraction(0))

    def patients(self) -> int:
        """How many patients have ever been charged."""
        with Session(self._engine) as session:
            return session.scalar(select(func.count(_Charge.patient.distinct()))) or 0

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
    )


def _merged(images_of: Mapping[str, int]) -> dict[str, int]:
    """One entry a patient: a blank before or after a key is a slip of the pen, not another person."""
    merged: Counter[str] = Counter()
    for patient, count in images_of.items():
        merged[patient.strip()] += count
    return dict(merged)


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

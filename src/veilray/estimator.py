"""CADP of tables as a scikit-learn transformer: fit on public rows, look at the latent, release with the ledger.

`transform` and `inverse_transform` add no noise. They are for looking at what a mechanism would be given, for choosing
options on public rows, and for pipelines in the house; only `release` makes something that may leave it.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from veilray.api import release
from veilray.errors import Refused
from veilray.methods.tables.model import CADPTable
from veilray.methods.tables.public_schema import column_names, numbered, public_schema
from veilray.releases.declared import Facts
from veilray.releases.table_reader import OpenedTable, open_table
from veilray.tables import Records, Schema, read_records
from veilray.tables.extra import needed

if TYPE_CHECKING:
    from veilray.privacy.exact import ExactLike

__all__ = ["TableCADP"]

_SEEDS = 2**31 - 1


class TableCADP(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Rows of a table to the latent of a conditional flow that was trained on public rows, and back.

    Rows are a numpy array `(n, columns)`, a `pandas.DataFrame` or a `pyarrow.Table`; the extra `tables` is needed.

    Args:
        schema: a confirmed `veilray.tables.Schema`, or the path of one. None reads it off the rows given to `fit`,
            **which must then be public in all their cells**, and said to be so by `training_data="public"` and a
            `statement`: bounds are their extremes and a tenth of the range at each end, levels and missing cells are as
            seen, and a later cell outside counts as the nearest bound, the missing cell or the middle of the column.
        condition: names of the columns that the flow is told, in a sequence or with commas; of an array without a
            schema they are x0, x1 ... All other columns are what the mechanism covers.
        task: the column by which the latent's directions are ranked: by default the first condition; `row` for what
            shows most of a row.
        keep: directions to keep; by default all.
        couplings, width: of the flow.
        epochs, batch_size, learning_rate: of its training; see `CADPTable.fit` for what None means.
        random_state: of the training: a whole number, a `numpy.random.RandomState`, or None for another each time.
        training_data, statement: what the rows given to `fit` are, for the card; see `veilray fit`.

    Attributes:
        model_: the fitted `CADPTable`.
        schema_: the schema of the rows.
        n_features_in_, feature_names_in_: the columns seen by `fit`, of a given schema its own: others do not count,
            nor does the patient, whom `fit` and `release` need where the schema names one. Names only of tables.

    References:
        Content-Aware Differential Privacy with Conditional Invertible Neural Networks (Toelle et al., 2022).

    Example:
        >>> from sklearn.datasets import load_breast_cancer
        >>> public = load_breast_cancer(as_frame=True).data.iloc[:, :4]
        >>> told = {"training_data": "public", "statement": "Breast Cancer Wisconsin"}
        >>> flow = TableCADP(couplings=2, width=8, epochs=2, random_state=0, **told).fit(public)
        >>> latents = flow.transform(public[:3])
        >>> latents.shape
        (3, 4)
        >>> flow.set_output(transform="pandas").inverse_transform(latents).round(2)["mean radius"].tolist()
        [17.99, 20.57, 19.69]
    """

    def __init__(
        self,
        schema: Schema | str | Path | None = None,
        *,
        condition: str | Sequence[str] | None = None,
        task: str | None = None,
        keep: int | None = None,
        couplings: int = 8,
        width: int = 128,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        random_state: int | np.random.RandomState | None = None,
        training_data: str = "not covered",
        statement: str = "",
    ) -> None:
        self.schema = schema
        self.condition = condition
        self.task = task
        self.keep = keep
        self.couplings = couplings
        self.width = width
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.random_state = random_state
        self.training_data = training_data
        self.statement = statement

    def fit(self, X: Any, y: object = None) -> Self:
        """Train the flow on public rows; those that the given schema refuses are left out.

        Args:
            X: public rows.
            y: not used.

        Raises:
            ValueError: for a schema that nobody confirmed, too few rows, or options that do not fit.
            veilray.errors.Refused: without a schema, for rows that are not declared public.
        """
        del y
        schema = self._given_schema()
        if schema is None and not (self.training_data == "public" and self.statement.strip()):
            raise Refused(
                "schema must be given for rows that are not declared public, got none: read off these rows it would "
                "publish their extremes and their rare levels. `veilray check TABLE` drafts one; confirm it, and give "
                'it. Where every cell is public, give training_data="public" and a statement of what the rows are'
            )
        frame = self._frame(X, schema, reset=True)
        records, _ = read_records(frame, public_schema(frame) if schema is None else schema)
        with tempfile.TemporaryDirectory(prefix="veilray-fit-") as scratch:
            self.model_ = CADPTable.fit(
                records,
                Path(scratch) / "model",
                condition=() if self.condition is None else self.condition,
                task=self.task,
                keep=self.keep,
                couplings=self.couplings,
                width=self.width,
                epochs=self.epochs,
                batch_size=self.batch_size,
                learning_rate=self.learning_rate,
                seed=_seed(self.random_state),
                training_data=self.training_data,
                statement=self.statement,
                name=type(self).__name__,
            )
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """The latent rows `(n, k)` float64 that a mechanism would be given, each from its own row alone.

        Internal: there is no noise in them, so they must never be released.

        Args:
            X: rows with the columns seen by `fit`; the patient is not needed.

        Raises:
            ValueError: for a row that the schema refuses, whether its policy says quarantine or error.
        """
        check_is_fitted(self)
        frame = self._frame(X, self._fitted_schema(), reset=False)
        records, refused = read_records(frame, self.schema_.model_copy(update={"patient": None}))
        if refused:
            raise ValueError(f"X must hold rows that the schema allows, got row {refused[0].row}: {refused[0].reason}")
        known = self.model_.facts(records)
        return _exact(self.model_).encode(records.only(self.model_.row_schema.names), known)

    def inverse_transform(self, Z: ArrayLike, conditions: Any = None) -> Any:
        """The valid rows of latent rows `(n, k)`; what of the latent is not kept is taken at the prior's mean.

        Args:
            Z: latent rows.
            conditions: what the flow is told of each row: an array, frame or Arrow table with the condition columns;
                further columns of a frame do not count. Without it the flow is told nothing.

        Returns:
            Rows with the columns of the schema, those of the conditions as they were told, else missing: what
            `set_output` asks for, and by default an array, float64 where all columns are numbers, else of objects.

        Raises:
            ValueError: for another shape, numbers that are not finite, or conditions that the schema refuses.
        """
        check_is_fitted(self)
        model = _exact(self.model_)
        latents = check_array(Z, dtype=np.float64)
        if latents.shape[1] != model.dimension:
            raise ValueError(f"Z must have the {model.dimension} directions of the latent, got {latents.shape[1]}")
        told = self._told(conditions, len(latents))
        facts: Facts = [{}] * len(latents) if told is None else model.facts(told)
        placed = model.directions.place(latents, np.zeros((len(latents), model.flow.config.dimension)))
        condition = None if model.declared is None else model.declared.condition(facts)
        rows = Records.of(model.row_schema, model.coordinates.decode(model.flow.decode(placed, condition)))
        return self._contained(rows, told)

    def release(self, X: Any, epsilon: ExactLike, out: str | Path, **options: Any) -> OpenedTable:
        """Release private rows with a claim, charged in the ledger: `veilray.release` with this model.

        Args:
            X: private rows with the columns seen by `fit`.
            epsilon: exact, for each row: `4`, `"0.5"`, `"1/3"`.
            out: the RELEASE folder, new.
            options: those of `veilray.release` for a table: `mechanism`, `label_policy`, `condition_policy`,
                `ledger`, `record`, `resume` ...

        Returns:
            The opened RELEASE.

        Raises:
            ValueError: for wrong use. veilray.errors.Refused: where keeping the claim forbids it.
        """

        check_is_fitted(self)
        if options.get("dry_run"):
            raise ValueError("dry run must be asked of veilray.release, with the folder that save writes, got it here")
        frame = self._frame(X, self._fitted_schema(), reset=False)
        with tempfile.TemporaryDirectory(prefix="veilray-release-") as scratch:
            self.model_.save(Path(scratch))
            release(frame, scratch, epsilon, out, **options)
        return open_table(Path(out))

    def save(self, folder: str | Path) -> None:
        """Write the MODEL folder of the fitted flow, as `veilray fit cadp` does; it must be new or empty."""
        check_is_fitted(self)
        folder = Path(folder)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"MODEL must be a new folder, got {folder}, which is there: name another")
        self.model_.save(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A fitted transformer from any MODEL folder of a table; its schema's columns are those seen by `fit`.

        Raises:
            ValueError: for a folder that holds no such model, or an altered one.
        """
        model = CADPTable.load(Path(folder))
        configuration = model.card.configuration
        loaded = cls(
            model.schema,
            condition=None if model.declared is None else model.declared.names,
            task=configuration.get("task"),
            keep=model.dimension,
            couplings=model.flow.config.couplings,
            width=model.flow.config.width,
        )
        names = model.schema.names
        loaded.model_, loaded.n_features_in_ = model, len(names)
        if names != numbered(len(names)):
            loaded.feature_names_in_ = np.array(names, dtype=object)
        return loaded

    @property
    def schema_(self) -> Schema:
        """The schema of the rows: the one that was given, or was read off the public rows."""
        check_is_fitted(self)
        return self.model_.schema

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """The names `direction0`, `direction1` ... of the latent, most important first; the argument is not used."""
        del input_features
        check_is_fitted(self)
        return np.array([f"direction{place}" for place in range(self.model_.dimension)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._allows_missing()
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.requires_fit = True
        tags.non_deterministic = False
        return tags

    def _allows_missing(self) -> bool:
        try:
            schema = self._given_schema()
        except (ValueError, TypeError, ImportError):  # an unreadable schema is told by `fit`
            return False
        return schema is None or schema.policy.missing == "replace" or any(part.missing for part in schema.columns)

    def _given_schema(self) -> Schema | None:
        return self.schema if self.schema is None or isinstance(self.schema, Schema) else Schema.from_yaml(self.schema)

    def _frame(self, X: Any, schema: Schema | None, *, reset: bool) -> Any:
        """The rows as a data frame with the schema's names; with none given, those of the one that is read off."""
        pd, arrow = needed("pandas"), needed("pyarrow")
        X = X.to_pandas() if isinstance(X, arrow.Table) else X
        named = isinstance(X, pd.DataFrame)
        features = X
        if named and schema is not None:
            X = X.set_axis([str(name).strip() for name in X.columns], axis=1)
            if absent := [name for name in schema.names if name not in X.columns]:
                raise ValueError(f"X must have the columns of the schema, got none named {absent[0]!r}")
            features = X[list(schema.names)]
        finite = "allow-nan" if named or self._allows_missing() else True  # a named cell is for its column to judge
        checked = validate_data(
            self, features, reset=reset, dtype=None, ensure_all_finite=finite, ensure_min_samples=2 if reset else 1
        )
        if schema is None:
            frame = X if named else pd.DataFrame(checked)
            seen = column_names(X.columns) if named else numbered(frame.shape[1])
            return frame.set_axis(list(seen if reset else self.schema_.names), axis=1)
        if checked.shape[1] != len(schema.names):
            raise ValueError(f"X must have the {len(schema.names)} columns of the schema, got {checked.shape[1]}")
        return X if named else pd.DataFrame(checked, columns=list(schema.names))

    def _fitted_schema(self) -> Schema | None:
        return None if self.schema is None else self.schema_

    def _told(self, conditions: Any, count: int) -> Records | None:
        """The conditions of `count` rows, read as the schema reads them."""
        if conditions is None:
            return None
        declared = self.model_.declared
        if declared is None:
            raise ValueError("conditions must be left out for a flow that is told none, got some")
        pd, arrow = needed("pandas"), needed("pyarrow")
        if not isinstance(conditions, pd.DataFrame | arrow.Table):
            array = check_array(conditions, dtype=None, ensure_all_finite="allow-nan")
            if array.shape[1] != len(declared.names):
                raise ValueError(f"conditions must be the {len(declared.names)} columns, got {array.shape[1]}")
            conditions = pd.DataFrame(array, columns=list(declared.names))
        if len(conditions) != count:
            raise ValueError(f"conditions must be of the {count} rows of Z, got {len(conditions)}")
        schema = self.schema_.only(declared.names).model_copy(update={"patient": None})
        told, refused = read_records(conditions, schema)
        if refused:
            raise ValueError(
                f"conditions must be what the schema allows, got row {refused[0].row}: {refused[0].reason}"
            )
        return told

    def _contained(self, rows: Records, told: Records | None) -> Any:
        """The rows and the conditions in the schema's order, in the container that is asked for."""
        names, columns = rows.schema.names, []
        values = np.full((len(rows), len(self.schema_.columns)), np.nan)
        for place, column in enumerate(self.schema_.columns):
            own = column.name in names
            columns.append(column if own else column.model_copy(update={"missing": True}))
            if own or told is not None:
                values[:, place] = (rows if own else told).column(column.name)  # type: ignore[union-attr]  # not None
        whole = Records.of(self.schema_.model_copy(update={"columns": tuple(columns), "patient": None}), values)
        container = _get_output_config("transform", self)["dense"]
        if container == "polars":
            return needed("polars").from_arrow(whole.to_arrow())
        if container == "default" and all(column.kind in ("continuous", "integer") for column in columns):
            return whole.values
        return whole.to_pandas() if container == "pandas" else whole.to_pandas().to_numpy(dtype=object)


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(_SEEDS))


def _exact(model: CADPTable) -> CADPTable:
    """The model in double precision, so that a row's numbers do not vary with the rows beside it."""
    exact = copy.copy(model)
    exact.flow = copy.deepcopy(model.flow).double()
    return exact

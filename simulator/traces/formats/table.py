"""Tables of other people: cells, columns and units."""

from pathlib import Path

import pandas as pd

from simulator.errors import TraceError

PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


def read_table(path: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Read a CSV or Parquet file; of the former only so many rows."""
    if ".csv" in path.suffixes:
        return read_csv(path, n_rows=n_rows)
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]
        raise TraceError(f"{path}: must be a readable CSV or Parquet file, got none ({reason})") from None


def read_csv(path: Path, header: int | None = 0, n_rows: int | None = None) -> pd.DataFrame:
    """Read a CSV file as text."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, header=header, nrows=n_rows)
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error).splitlines()[0]
        raise TraceError(f"{path}: must be a readable CSV file, got none ({reason})") from None


def in_seconds(samples: pd.DataFrame, path: Path, unit: str) -> pd.DataFrame:
    """Turn the cells of the last column into seconds, and leave empty ones out."""
    cells = samples["duration_s"]
    values = pd.to_numeric(cells, errors="coerce").astype("float64")
    is_empty = cells.isna() | cells.isin(["", "nan", "NaN", "NA"])
    wrong = (values.isna() & ~is_empty) | (values < 0)
    if wrong.any():
        row = samples[wrong].iloc[0]
        raise TraceError(
            f"{path}: times must be numbers of at least 0, got {row['duration_s']} for round {row['round']}, worker "
            f"{row['worker']}"
        )
    return samples.assign(duration_s=values / PER_SECOND[unit])[~is_empty].reset_index(drop=True)

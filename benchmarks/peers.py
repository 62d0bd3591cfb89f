"""The peers that the consolidator is measured against, each run in a process of its own.

Usage: peers.py CONTENDER OUTPUT RULES INPUT...
Prints rows, seconds, bytes read and written, and peak memory as JSON.
Starting Python and importing the package are not counted.
"""

import glob
import json
import os
import sys
import time


def peak_rss_bytes():
    try:
        with open("/proc/self/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return None


# The fastest form found. One regular expression costs no more than text functions do, and a join
# with a small table is faster than a long CASE. To the peer's benefit it counts no totals, knows no
# names of whole files, and looks through one wrapper only.
DERIVATION = """
SELECT report.* EXCLUDE (slash, parts, outer_extension, inner_extension),
       CASE WHEN length(outer_extension) <= {longest}
             AND regexp_full_match(outer_extension, '[0-9]*[a-z_-][a-z0-9_-]*')
            THEN outer_extension END AS extension,
       CASE WHEN slash > 0 THEN left("key", slash - 1) END AS top_prefix,
       coalesce(inner_rule.category, outer_rule.category, 'other') AS category
FROM (
  SELECT *,
         instr("key", '/') AS slash,
         string_split("key", '.') AS parts,
         CASE WHEN len(parts) > 1 THEN lower(parts[-1]) END AS outer_extension,
         CASE WHEN outer_extension IN ({wrappers}) THEN lower(parts[-2]) END AS inner_extension
  FROM {source}
) AS report
LEFT JOIN rules AS outer_rule ON outer_rule.extension = outer_extension
LEFT JOIN rules AS inner_rule ON inner_rule.extension = inner_extension
"""


def duckdb_connection(rules):
    import duckdb

    con = duckdb.connect()
    con.execute("SET threads = 1").fetchall()
    con.execute("CREATE TABLE rules (extension VARCHAR, category VARCHAR)").fetchall()
    known = [(extension, rule["category"]) for rule in rules["rules"] for extension in rule["extensions"]]
    con.executemany("INSERT INTO rules VALUES (?, ?)", known)
    return con


def text(value):
    return "'" + value.replace("'", "''") + "'"


def copy(con, source, target, rules):
    wrappers = ", ".join(text(wrapper) for wrapper in rules["wrappers"])
    query = DERIVATION.format(source=source, wrappers=wrappers, longest=rules["max_extension_bytes"])
    copied = con.execute(f"COPY ({query}) TO {text(target)} (FORMAT parquet, COMPRESSION snappy)")
    return copied.fetchall()[0][0]


def duckdb_parquet(sources, target, rules):
    """All files in one statement."""
    con = duckdb_connection(rules)
    yield
    listed = ", ".join(text(source) for source in sources)
    yield copy(con, f"read_parquet([{listed}])", target, rules)


def duckdb_parquet_each(sources, target, rules):
    """One file after the other."""
    con = duckdb_connection(rules)
    yield
    yield sum(
        copy(con, f"read_parquet({text(source)})", f"{target}.{number}", rules)
        for number, source in enumerate(sources)
    )


# Of the predecessor's columns; a CSV report has no header.
CSV_COLUMNS = {
    "bucket": "VARCHAR",
    "key": "VARCHAR",
    "version_id": "VARCHAR",
    "is_latest": "BOOLEAN",
    "is_delete_marker": "BOOLEAN",
    "size": "BIGINT",
    "last_modified_date": "TIMESTAMP",
    "e_tag": "VARCHAR",
    "storage_class": "VARCHAR",
    "is_multipart_uploaded": "BOOLEAN",
    "replication_status": "VARCHAR",
    "encryption_status": "VARCHAR",
    "object_lock_retain_until_date": "TIMESTAMP",
    "object_lock_mode": "VARCHAR",
    "object_lock_legal_hold_status": "VARCHAR",
}


def duckdb_csv(sources, target, rules):
    con = duckdb_connection(rules)
    yield
    (source,) = sources
    read = (
        f"read_csv({text(source)}, header = false, auto_detect = false, delim = ',', quote = '\"', "
        f"escape = '\"', new_line = '\\n', nullstr = '', columns = {CSV_COLUMNS})"
    )
    decoded = f"(SELECT * REPLACE (url_decode(replace(\"key\", '+', ' ')) AS \"key\") FROM {read})"
    yield copy(con, decoded, target, rules)


def pyarrow():
    import pyarrow

    pyarrow.set_cpu_count(1)
    pyarrow.set_io_thread_count(1)


def pyarrow_parquet(sources, target, rules):
    """Only reads and writes; nothing is derived."""
    pyarrow()
    import pyarrow.parquet as pq

    yield
    rows = 0
    for number, source in enumerate(sources):
        file = pq.ParquetFile(source)
        with pq.ParquetWriter(f"{target}.{number}", file.schema_arrow, compression="snappy") as writer:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, use_threads=False)
                rows += table.num_rows
                writer.write_table(table)
    yield rows


def pyarrow_orc_whole(sources, target, rules):
    """Only reads."""
    pyarrow()
    import pyarrow.orc as orc

    yield
    (source,) = sources
    yield orc.ORCFile(source).read().num_rows


def pyarrow_orc_stripes(sources, target, rules):
    """Only reads, a stripe at a time."""
    pyarrow()
    import pyarrow.orc as orc

    yield
    (source,) = sources
    file = orc.ORCFile(source)
    yield sum(file.read_stripe(stripe).num_rows for stripe in range(file.nstripes))


CONTENDERS = {
    contender.__name__.replace("_", "-"): contender
    for contender in [duckdb_parquet, duckdb_parquet_each, duckdb_csv, pyarrow_parquet, pyarrow_orc_whole, pyarrow_orc_stripes]
}


def main():
    contender, target, rules, *sources = sys.argv[1:]
    with open(rules) as opened:
        steps = CONTENDERS[contender](sources, target, json.load(opened))
    next(steps)
    start = time.perf_counter()
    rows = next(steps)
    seconds = time.perf_counter() - start
    # A target for each file has its number behind its name.
    written = sum(os.path.getsize(path) for path in glob.glob(glob.escape(target) + "*"))
    result = {
        "rows": rows,
        "seconds": seconds,
        "peak_rss_bytes": peak_rss_bytes(),
        "bytes_read": sum(os.path.getsize(source) for source in sources),
        "bytes_written": written,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""Writes the seeds of the fuzz targets into seeds/<target>/, with pyarrow.

The files are committed, so this is only to be run to change them.
"""

import gzip
import json
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
from pyarrow import orc, parquet

HERE = Path(__file__).parent / "seeds"
LEAP_DAY = datetime(2024, 2, 29, 23, 59, 59, 999000, timezone.utc)

ROWS = [
    # key, version_id, is_latest, is_delete_marker, size, storage_class
    ("backup/db.sql.gz", "", True, False, 100, "STANDARD"),
    ("backup/db.sql.gz", "v1", False, False, 7, "GLACIER"),
    ("ü/.env", "v2", True, True, None, None),
    ("readme", "", True, False, 0, "STANDARD"),
]


def table(timestamp: pa.DataType, rows=ROWS) -> pa.Table:
    text, truth = pa.string(), pa.bool_()
    columns = {
        "bucket": ["photos" for _ in rows],
        "key": [row[0] for row in rows],
        "version_id": [row[1] for row in rows],
        "is_latest": [row[2] for row in rows],
        "is_delete_marker": [row[3] for row in rows],
        "size": [row[4] for row in rows],
        "last_modified_date": [LEAP_DAY for _ in rows],
        "e_tag": [None if row[3] else "d41d8cd98f00b204e9800998ecf8427e" for row in rows],
        "storage_class": [row[5] for row in rows],
        "replication_status": [None for _ in rows],
        "encryption_status": [None if row[3] else "SSE-S3" for row in rows],
        "new_field": [1 for _ in rows],
    }
    types = [text, text, text, truth, truth, pa.int64(), timestamp, text, text, text, text, pa.int64()]
    required = {"bucket", "key"}
    schema = pa.schema(
        [pa.field(name, kind, name not in required) for name, kind in zip(columns, types, strict=True)]
    )
    return pa.table(columns, schema)


def write(target: str, name: str, content: bytes) -> None:
    folder = HERE / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def write_parquet(name: str, content: pa.Table, **options) -> None:
    sink = pa.BufferOutputStream()
    parquet.write_table(content, sink, store_schema=False, **options)
    write("parquet", name, sink.getvalue().to_pybytes())


def write_orc(name: str, content: pa.Table, **options) -> None:
    sink = pa.BufferOutputStream()
    orc.write_table(content, sink, **options)
    write("orc", name, sink.getvalue().to_pybytes())


def main() -> None:
    milliseconds = pa.timestamp("ms", tz="UTC")
    usual = table(milliseconds)
    write_parquet("usual.parquet", usual, compression="snappy")
    # Without compression and checksums the fuzzer reaches what stands in the pages.
    write_parquet("plain.parquet", usual, compression="none", row_group_size=3, write_statistics=False)
    # It is also the valid part of what the targets for parts of a file are given.
    plain = (HERE / "parquet" / "plain.parquet").read_bytes()
    footer = len(plain) - 8 - int.from_bytes(plain[-8:-4], "little")
    write("parquet_footer", "plain", plain[footer:-8])
    write("parquet_pages", "plain", plain[:footer])
    write_parquet("v2.parquet", usual, compression="snappy", data_page_version="2.0")
    write_parquet("zstd.parquet", usual, compression="zstd")
    write_parquet("no-dictionary.parquet", usual, compression="none", use_dictionary=False)
    write_parquet(
        "delta.parquet",
        usual,
        compression="none",
        use_dictionary=False,
        data_page_version="2.0",
        column_encoding={
            "key": "DELTA_BYTE_ARRAY",
            "version_id": "DELTA_LENGTH_BYTE_ARRAY",
            "size": "DELTA_BINARY_PACKED",
            "is_latest": "RLE",
        },
    )
    write_parquet(
        "int96.parquet", usual, compression="none", use_deprecated_int96_timestamps=True
    )
    write_parquet(
        "microseconds.parquet", table(pa.timestamp("us", tz="UTC")), compression="none"
    )
    write_parquet("empty.parquet", table(milliseconds, []), compression="none")

    for name, options in {
        "zlib": {"compression": "zlib"},
        "none": {"compression": "uncompressed"},
        "snappy": {"compression": "snappy"},
        "dictionary": {"compression": "uncompressed", "dictionary_key_size_threshold": 1.0},
    }.items():
        write_orc(f"{name}.orc", table(pa.timestamp("ns", tz="UTC")), **options)
    write_orc("empty.orc", table(pa.timestamp("ns", tz="UTC"), []))

    line = (
        '"photos","backup/db+1%2B%C3%BC.sql","v1","true","false","100","2024-02-29T23:59:59.999Z",'
        '"d41d8cd98f00b204e9800998ecf8427e","STANDARD","false","COMPLETED","SSE-S3",'
        '"2026-01-01T00:00:00Z","GOVERNANCE","Off","a ""quoted"" text"\n'
    )
    marker = '"photos","gone","v2","true","true","","1709251199999","","","","","","","","",""\r\n'
    bare = "photos,a%zz,,TRUE,false,,2024-02-29T23:59:59+01:00,,,,,,,,,\n"
    for name, text in {"line": line, "marker": marker, "bare": bare, "all": line + marker + bare}.items():
        write("csv", f"{name}.csv", text.encode())
        write("csv_gzip", f"{name}.csv.gz", gzip.compress(text.encode(), mtime=0))
    two_members = gzip.compress(line.encode(), mtime=0) + gzip.compress(marker.encode(), mtime=0)
    write("csv_gzip", "two-members.csv.gz", two_members)

    schemas = {
        "parquet": "message s3.inventory { required binary bucket (UTF8); required binary key (STRING); "
        "optional int64 last_modified_date (TIMESTAMP(MILLIS,true));}",
        "ORC": "struct<bucket:string,key:string,size:bigint,new:decimal(3,1)>",
        "CSV": "Bucket, Key, VersionId, ETag",
    }
    for file_format, schema in schemas.items():
        manifest = {
            "sourceBucket": "photos",
            "destinationBucket": "arn:aws:s3:::reports",
            "version": "2016-11-30",
            "creationTimestamp": "1514944800000",
            "fileFormat": file_format,
            "fileSchema": schema,
            "files": [{"key": "data/a", "size": 9, "MD5checksum": "f11166069f1990abeb9c97ace9cdfabc"}],
        }
        write("manifest", f"{file_format.lower()}.json", json.dumps(manifest).encode())
    write("manifest", "location", b"a/b/photos/daily/2026-11-01T01-00Z/manifest.checksum")
    write("manifest", "uri", b"s3://reports/photos/daily/2026-11-01T01-00Z/manifest.json")
    write("manifest", "checksum", b"f11166069f1990abeb9c97ace9cdfabc\n")
    write_documents()


def write_documents() -> None:
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "bucket": {"name": "reports"},
            "object": {
                "key": "111111111111/red+flower/s3insights-insights-nightly/2026-11-01T01-00Z/manifest.checksum",
                "size": 32,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "versionId": "v1",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }
    raw = {"Records": [record]}
    events = {
        "raw": raw,
        "envelope": {"Type": "Notification", "Message": json.dumps(raw)},
        "test": {"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "reports"},
    }
    for name, event in events.items():
        write("s3_event", f"{name}.json", json.dumps(event).encode())

    minimal = {
        "accounts": [{"id": "123456789012"}],
        "sender_email_address": "a@example.com",
        "recipient_email_addresses": ["b@example.com"],
    }
    full = minimal | {
        "run_id": "nightly",
        "accounts": [{"id": "123456789012", "exclude": ["logs-*"]}],
        "athena_database_name": "s3insights",
        "athena_table_name": "inventory_nightly",
        "is_smoke_test": False,
        "athena_queries": [
            {"catalog": "stale-buckets", "parameters": {"days": 30}},
            {"catalog": "backup-comparison", "parameters": {"bucket": "photos"}},
            {"name": "all", "query": "SELECT count(*) FROM {ATHENA_TABLE}"},
        ],
        "supported_regions": ["us-east-1"],
        "existing_inventories": [{"bucket": "photos", "manifest": "s3://reports/photos/d/1/manifest.json"}],
        "inventory_timeout_minutes": 60,
        "status_refresh_minutes": 5,
    }
    for name, run_input in {"minimal": minimal, "full": full}.items():
        write("run_input", f"{name}.json", json.dumps(run_input).encode())


if __name__ == "__main__":
    main()

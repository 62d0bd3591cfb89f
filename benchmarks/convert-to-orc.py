"""Turns a Parquet report of write-reports into an ORC report, as S3 delivers it: zlib, stripes of
64 MB, dictionaries where they pay, timestamps without a zone.

Usage: convert-to-orc.py MANIFEST
"""

import hashlib
import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.orc as orc
import pyarrow.parquet as pq

NAMES = {"string": "string", "bool": "boolean", "int64": "bigint", "timestamp[ms]": "timestamp"}


def main():
    manifest_path = Path(sys.argv[1])
    manifest = json.loads(manifest_path.read_text())
    data = manifest_path.parents[1] / "data"
    for file in manifest["files"]:
        source = data / Path(file["key"]).name
        target = source.with_suffix(".orc")
        schema = convert(source, target)
        source.unlink()
        content = target.read_bytes()
        file["key"] = file["key"].removesuffix(".parquet") + ".orc"
        file["size"] = len(content)
        file["MD5checksum"] = hashlib.md5(content).hexdigest()
    fields = ",".join(f"{field.name}:{NAMES[str(field.type)]}" for field in schema)
    manifest |= {"fileFormat": "ORC", "fileSchema": f"struct<{fields}>"}
    text = json.dumps(manifest, indent=2)
    manifest_path.write_text(text)
    checksum = hashlib.md5(text.encode()).hexdigest()
    manifest_path.with_name("manifest.checksum").write_text(checksum)


def convert(source, target):
    parquet = pq.ParquetFile(source)
    # A zone would make it the other type, `timestamp with local time zone`.
    fields = [
        field.with_type(pa.timestamp("ms")) if pa.types.is_timestamp(field.type) else field
        for field in parquet.schema_arrow
    ]
    schema = pa.schema([pa.field(field.name, field.type) for field in fields])
    # The defaults of the Java writer.
    options = {
        "compression": "zlib",
        "compression_block_size": 256 << 10,
        "stripe_size": 64 << 20,
        "dictionary_key_size_threshold": 0.8,
    }
    with orc.ORCWriter(target, **options) as writer:
        for batch in parquet.iter_batches(batch_size=65_536):
            writer.write(pa.Table.from_batches([batch]).cast(schema))
    return schema


main()

"""Answers queries in DuckDB: reads questions as JSON from standard input, writes the answers.

A question is the text of a query as Athena gets it, the tables that it reads with their columns and
rows, and what to do with it. Every query is parsed as Athena's SQL and as DuckDB's, and answered three
times: as it is, with the rows of every table in the opposite order, and as sqlglot translates it from
Athena's SQL to DuckDB's.
"""

import datetime
import json
import sys

import duckdb
import sqlglot


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def connection(tables, order):
    """An empty database with the tables of a question; `order` is 1 or -1."""
    database = duckdb.connect(":memory:")
    for table in tables:
        name = f"{quoted(table['database'])}.{quoted(table['table'])}"
        columns = ", ".join(f"{quoted(column)} {kind}" for column, kind in table["columns"])
        database.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(table['database'])}")
        database.execute(f"CREATE TABLE {name} ({columns})")
        row = "(" + ", ".join("?" for _ in table["columns"]) + ")"
        places = ", ".join([row] * len(table["rows"]))
        values = [value for row in table["rows"][::order] for value in row]
        database.execute(f"INSERT INTO {name} VALUES {places}", values)
    return database


def plain(value):
    """A value as Athena writes it, as far as JSON has no type for it."""
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


def answer(database, sql):
    result = database.execute(sql)
    columns = [column[0] for column in result.description]
    return {"columns": columns, "rows": [[plain(value) for value in row] for row in result.fetchall()]}


def answers(question):
    sql = question["sql"]
    for dialect in ("athena", "duckdb"):
        statements = sqlglot.parse(sql, read=dialect)
        if len(statements) != 1:
            raise ValueError(f"{len(statements)} statements of {dialect}")
    (translated,) = sqlglot.transpile(sql, read="athena", write="duckdb")
    tables = question["tables"]
    return {
        "as_it_is": answer(connection(tables, 1), sql),
        "rows_reversed": answer(connection(tables, -1), sql),
        "translated": answer(connection(tables, 1), translated),
    }


def told(question):
    try:
        return answers(question)
    except Exception as error:  # told to the test, which knows what the question was about
        return {"error": f"{type(error).__name__}: {error}"}


json.dump([told(question) for question in json.load(sys.stdin)], sys.stdout)

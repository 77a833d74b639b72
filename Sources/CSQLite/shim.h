// SQLite, and wrappers for those of its functions that are variadic or macros and therefore invisible to Swift.
#pragma once
#include <sqlite3.h>
#include <stddef.h>

/// `SQLITE_BUSY_SNAPSHOT`: somebody has written since this connection began to read.
static const int csqlite_busy_snapshot = SQLITE_BUSY_SNAPSHOT;

/// `SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE`: whether closing leaves the database file and its log as they are.
static inline int csqlite_set_no_checkpoint_on_close(sqlite3 *database, int on) {
  return sqlite3_db_config(database, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on, (int *)0);
}

// SQLITE_TRANSIENT: SQLite copies the bytes. A null pointer would bind NULL where an empty value is meant.

/// `sqlite3_bind_text`.
static inline int csqlite_bind_text(sqlite3_stmt *statement, int index, const void *bytes, size_t count) {
  return sqlite3_bind_text64(statement, index, bytes ? bytes : "", count, SQLITE_TRANSIENT, SQLITE_UTF8);
}

/// `sqlite3_bind_blob`.
static inline int csqlite_bind_blob(sqlite3_stmt *statement, int index, const void *bytes, size_t count) {
  return sqlite3_bind_blob64(statement, index, bytes ? bytes : "", count, SQLITE_TRANSIENT);
}

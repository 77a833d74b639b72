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

/// The hook of `csqlite_count_frames`.
static inline int csqlite_note_frames(void *frames, sqlite3 *database, const char *name, int count) {
  *(int *)frames = count;
  return SQLITE_OK;
}

/// `sqlite3_wal_hook`: after each commit of this connection, `*frames` is how many frames the write-ahead log has.
/// `frames` must outlive the connection. Turns automatic checkpoints off.
static inline void csqlite_count_frames(sqlite3 *database, int *frames) {
  sqlite3_wal_hook(database, csqlite_note_frames, frames);
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

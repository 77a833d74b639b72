extension StateDatabase {
  /// Stores an image, in the place of what has its name.
  public func putImage(_ image: StoredImage, audit: AuditEntry) throws(StateStoreError) {
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run(
        "INSERT OR REPLACE INTO image VALUES(?, ?, ?, ?)", .text(image.name), .text(image.kind), .blob(image.manifest),
        .int(image.createdAtMS))
    }
  }

  /// Forgets the image `name`.
  public func deleteImage(name: String, audit: AuditEntry) throws(StateStoreError) {
    try write(audit) { (connection: inout SQLiteConnection) throws(StateStoreError) in
      try connection.run("DELETE FROM image WHERE name = ?", .text(name))
      guard connection.changes == 1 else { throw .conflict("there is no image \(name)") }
    }
  }
}

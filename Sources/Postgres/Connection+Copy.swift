import CPostgres
import Glibc

extension Connection {
  /// Runs statements without values by the simple protocol: several, separated by semicolons, in one round trip.
  /// Outside of a transaction block they are one implicit transaction.
  func runScript(_ text: String) throws(PostgresError) {
    guard !text.utf8.contains(0) else { throw PostgresError(.encode, "a script holds a NUL character") }
    try checkUsable()
    try outsidePipeline { () throws(PostgresError) in
      guard PQsendQuery(handle, text) == 1 else { throw lost() }
      try flush()
      try readToEnd()
    }
  }

  /// Runs a COPY … FROM STDIN; `next` gives the next piece of data in COPY's text format, or nil at the end.
  /// Returns the number of rows. When `next` throws, the server discards all of it.
  func copy(_ statement: String, next: () throws -> [UInt8]?) throws -> Int {
    try checkUsable()
    return try outsidePipeline {
      guard PQsendQuery(handle, statement) == 1 else { throw lost() }
      try flush()
      guard let start = try nextResult() else { throw lost() }
      guard start.status == PGRES_COPY_IN else {
        try readToEnd()
        throw start.error
      }
      do {
        while let piece = try next() { try put(piece) }
      } catch {
        guard !isBroken else { throw error }
        try end(reason: "the sender gave up")
        // The server's echo of our giving up says less than why we did.
        do throws(PostgresError) { try readToEnd() } catch  where isBroken { throw error } catch {}
        throw error
      }
      try end(reason: nil)
      return try readToEnd()
    }
  }

  private func put(_ piece: [UInt8]) throws(PostgresError) {
    try checkUsable()
    while true {
      let code = piece.withUnsafeBytes { bytes in
        PQputCopyData(handle, bytes.bindMemory(to: CChar.self).baseAddress, Int32(piece.count))
      }
      if code == 1 { break }
      if code < 0 { throw lost() }
      try wait(for: POLLIN | POLLOUT)
    }
    try flush()
  }

  private func end(reason: String?) throws(PostgresError) {
    while true {
      let code = PQputCopyEnd(handle, reason)
      if code == 1 { break }
      if code < 0 { throw lost() }
      try wait(for: POLLIN | POLLOUT)
    }
    try flush()
  }

  /// Reads all results; throws the first error. Returns the rows affected by the last statement.
  @discardableResult
  private func readToEnd() throws(PostgresError) -> Int {
    var failure: PostgresError?
    var affected = 0
    while let result = try nextResult() {
      switch result.status {
      case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY: affected = result.affectedRows
      case PGRES_FATAL_ERROR:
        let error = explained(result.error)
        if PQstatus(handle) != CONNECTION_OK || error.kind == .connectionLost { throw lost(result) }
        failure = failure ?? error
      default:
        isBroken = true
        throw PostgresError(.misuse, "a script must not COPY")
      }
    }
    if PQstatus(handle) != CONNECTION_OK { throw lost() }
    if let failure { throw failure }
    return affected
  }

  private func outsidePipeline<Result, Failure: Error>(_ body: () throws(Failure) -> Result) throws(Failure) -> Result {
    if PQexitPipelineMode(handle) != 1 { isBroken = true }
    defer { if PQenterPipelineMode(handle) != 1 { isBroken = true } }
    return try body()
  }
}

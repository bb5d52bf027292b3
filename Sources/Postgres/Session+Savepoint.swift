extension Session {
  /// Runs `body` so that its failure undoes only what it did: the transaction goes on. Needs a transaction.
  ///
  /// Costs no round trip of its own: SAVEPOINT, RELEASE and ROLLBACK TO go out with the statement that follows them.
  @discardableResult
  public func savepoint<Result>(_ body: () throws -> Result) throws -> Result {
    guard case .transaction = mode else {
      throw PostgresError(.misuse, "a savepoint needs a transaction; this session commits every statement by itself")
    }
    let (sentBefore, prefixBefore, failureBefore) = (sent, prefix.count, firstFailure)
    savepoints += 1
    defer { savepoints -= 1 }
    let name = "savepoint_\(savepoints)"
    prefix.append(SQL(text: "SAVEPOINT \(name)"))
    do {
      let result = try body()
      if sent == sentBefore {
        prefix.removeLast(prefix.count - prefixBefore)
      } else {
        // A failure that the body kept to itself has undone the body all the same.
        if failureBefore == nil, let firstFailure { throw firstFailure }
        prefix.append(SQL(text: "RELEASE SAVEPOINT \(name)"))
      }
      return result
    } catch {
      if sent == sentBefore {
        prefix.removeLast(prefix.count - prefixBefore)
      } else if !connection.isBroken {
        prefix.append(SQL(text: "ROLLBACK TO SAVEPOINT \(name)"))
        prefix.append(SQL(text: "RELEASE SAVEPOINT \(name)"))
        firstFailure = failureBefore
      }
      throw error
    }
  }
}

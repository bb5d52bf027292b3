import CPostgres

/// What a pipeline of statements brought.
struct RoundTrip {
  /// The results of the statements before the first failure.
  var results: [QueryResult] = []
  /// The first failure; the statements after it were not executed.
  var failure: PostgresError?
}

extension Connection {
  private enum Expected {
    case prepared(text: String)
    case executed
  }

  /// Sends `steps` in one go (preparing those that are new) and reads all answers: one round trip to the server.
  ///
  /// Throws when the connection is unusable or gets lost; what the server refuses is in the answer. Outside of a
  /// transaction block the steps are one implicit transaction.
  func roundTrip(_ steps: [SQL]) throws(PostgresError) -> RoundTrip {
    try checkUsable()
    for (index, step) in steps.enumerated() where step.holdsNul || step.values.count > 65_535 {
      let reason = step.holdsNul ? "a text value holds a NUL character" : "there are more than 65535 values"
      var error = PostgresError(.encode, "\(reason), which PostgreSQL cannot take")
      error.statementIndex = index
      throw error
    }
    var expected: [Expected] = []
    expected.reserveCapacity(steps.count + 1)
    for step in steps {
      if let name = statements.name(for: step.text) {
        try send(step, name: name)
      } else {
        let name = statements.add(step.text)
        guard PQsendPrepare(handle, name, step.text, 0, nil) == 1 else { throw lost() }
        expected.append(.prepared(text: step.text))
        try send(step, name: name)
      }
      expected.append(.executed)
    }
    guard PQpipelineSync(handle) == 1 else { throw lost() }
    try flush()
    return try read(expected, texts: steps)
  }

  private func read(_ expected: [Expected], texts steps: [SQL]) throws(PostgresError) -> RoundTrip {
    var answer = RoundTrip()
    answer.results.reserveCapacity(steps.count)
    for item in expected {
      guard let result = try nextResult() else { throw lost() }
      let status = result.status
      // The end of this statement's results. A failure after a complete result can only be the connection's.
      while let more = try nextResult() {
        if more.status == PGRES_FATAL_ERROR || PQstatus(handle) != CONNECTION_OK { throw lost(more) }
        guard more.status == PGRES_TUPLES_OK || more.status == PGRES_COMMAND_OK else { throw lost(more) }
      }
      let succeeded = status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK || status == PGRES_EMPTY_QUERY
      if case .prepared(let text) = item, !succeeded { statements.remove(text) }
      switch status {
      case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
        if case .executed = item, answer.failure == nil { answer.results.append(result) }
      case PGRES_PIPELINE_ABORTED: break
      case PGRES_FATAL_ERROR:
        let error = explained(result.error)
        if PQstatus(handle) != CONNECTION_OK || error.kind == .connectionLost { throw lost(result) }
        if answer.failure == nil {
          answer.failure = error
          if error.isStaleStatement { forget(steps[answer.results.count]) }
        }
      default:
        // COPY started by a plain statement: there is no way back to the pipeline's protocol.
        isBroken = true
        throw PostgresError(.misuse, "COPY cannot be run as a plain statement; use copyIn")
      }
    }
    try readSync(into: &answer)
    return answer
  }

  /// The statements are only committed (outside of a transaction block) once the synchronisation point is answered.
  private func readSync(into answer: inout RoundTrip) throws(PostgresError) {
    while true {
      guard let result = try nextResult() else {
        if PQstatus(handle) != CONNECTION_OK { throw lost() }
        continue
      }
      switch result.status {
      case PGRES_PIPELINE_SYNC: return
      case PGRES_FATAL_ERROR:
        // A deferred constraint of the implicit transaction fails here.
        let error = explained(result.error)
        if PQstatus(handle) != CONNECTION_OK || error.kind == .connectionLost { throw lost(result) }
        if answer.failure == nil { answer.failure = error }
      default: throw lost(result)
      }
    }
  }

  /// The server uses one code for its timeout and for our request; only we know whether we asked.
  func explained(_ error: PostgresError) -> PostgresError {
    guard error.kind == .timeout, cancellation?.isSet == true else { return error }
    return error.with(kind: .cancelled, "the task was cancelled")
  }

  /// The server keeps the statement under its old name until the connection ends; it is prepared anew under another.
  private func forget(_ step: SQL) { statements.remove(step.text) }

  /// Queues one execution of a prepared statement, values in text format but for bytes.
  private func send(_ step: SQL, name: String) throws(PostgresError) {
    let values = step.values
    if values.isEmpty {
      guard PQsendQueryPrepared(handle, name, 0, nil, nil, nil, 0) == 1 else { throw lost() }
      return
    }
    parameterBytes.removeAll(keepingCapacity: true)
    let sent = withUnsafeTemporaryAllocation(of: Int32.self, capacity: values.count * 3) { numbers in
      let (offsets, lengths, formats) = (0, values.count, values.count * 2)
      for (index, value) in values.enumerated() {
        let start = parameterBytes.count
        numbers[formats + index] = 0
        switch value {
        case .null: break
        case .text(let text): parameterBytes.append(contentsOf: text.utf8)
        case .bytes(let bytes):
          parameterBytes.append(contentsOf: bytes)
          numbers[formats + index] = 1
        }
        numbers[offsets + index] = value == .null ? -1 : Int32(truncatingIfNeeded: start)
        numbers[lengths + index] = Int32(truncatingIfNeeded: parameterBytes.count - start)
        parameterBytes.append(0)
      }
      return parameterBytes.withUnsafeBytes { memory in
        withUnsafeTemporaryAllocation(of: UnsafePointer<CChar>?.self, capacity: values.count) { pointers in
          let base = memory.bindMemory(to: CChar.self)
          for index in 0..<values.count {
            let offset = Int(numbers[offsets + index])
            pointers.initializeElement(at: index, to: offset < 0 ? nil : base.baseAddress.map { $0 + offset })
          }
          return PQsendQueryPrepared(
            handle, name, Int32(values.count), pointers.baseAddress,
            numbers.baseAddress.map { $0 + lengths }, numbers.baseAddress.map { $0 + formats }, 0)
        }
      }
    }
    guard sent == 1 else { throw lost() }
  }

  /// Leaves the connection as a new job must find it: no open transaction, not too many statements.
  func reset() {
    cancellation = nil
    settleCancelling()
    guard !isBroken else { return }
    interruptible = false
    defer { interruptible = true }
    silenceLimit = configuration.statementTimeout + configuration.silenceGrace
    do throws(PostgresError) {
      if PQtransactionStatus(handle) != PQTRANS_IDLE { _ = try roundTrip(["ROLLBACK"]) }
      let surplus = statements.overflow()
      if !surplus.isEmpty { try runScript(surplus.map { "DEALLOCATE \($0)" }.joined(separator: ";")) }
    } catch {
      // A connection that cannot be cleaned is not used again.
      isBroken = true
    }
    if PQtransactionStatus(handle) != PQTRANS_IDLE { isBroken = true }
    lastUse = .now
  }
}

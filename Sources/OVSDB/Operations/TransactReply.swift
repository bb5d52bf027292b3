import JSON

/// Reads the `result` of a `transact` (RFC 7047, 4.1.3).
///
/// Errors hide in three places. The first, the `error` of the answer, ends the call before this is asked. The second is an
/// error in place of an operation's result, with null for those behind it. The third is one element more than there are
/// operations: all of them worked, and the commit did not.
enum TransactReply {
  static func results(
    _ result: JSONValue, of operations: [Operation], at place: String
  ) throws(OVSDBError) -> [OperationResult] {
    guard let elements = result.arrayValue else {
      throw OVSDBError(.protocolViolation, "\(place): the result of a transaction is no array")
    }
    var results: [OperationResult] = []
    results.reserveCapacity(operations.count)
    for (index, element) in elements.enumerated() {
      if element["error"] != nil, let fault = ServerFault(json: element) {
        guard index < operations.count else {
          throw OVSDBError(.commitFailed(fault), "\(place): the commit failed: \(fault)")
        }
        throw OVSDBError(
          .operationFailed(index: index, fault),
          "\(place): operation \(index) (\(operations[index].name)) failed: \(fault)")
      }
      guard index < operations.count, let result = OperationResult(json: element) else {
        throw OVSDBError(.protocolViolation, "\(place): result \(index) of a transaction is not one of an operation")
      }
      results.append(result)
    }
    guard results.count == operations.count else {
      throw OVSDBError(
        .protocolViolation, "\(place): \(results.count) results for a transaction of \(operations.count) operations")
    }
    return results
  }
}

extension Operation {
  /// What it is and which table it is about, for messages.
  var name: String {
    switch self {
    case .insert(let table, _, _): "insert into \(table)"
    case .select(let table, _, _): "select from \(table)"
    case .update(let table, _, _): "update of \(table)"
    case .mutate(let table, _, _): "mutate of \(table)"
    case .delete(let table, _): "delete from \(table)"
    case .wait(let table, _, _, _, _, _): "wait for \(table)"
    case .abort: "abort"
    case .comment: "comment"
    case .assert(let lock): "assert of lock \(lock)"
    }
  }
}

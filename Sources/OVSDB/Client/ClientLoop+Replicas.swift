import JSON

/// Replicas and locks, which outlive connections.
extension ClientLoop {
  /// Asks for a replica's content if the connection is ready; otherwise that happens when it is.
  func monitor(_ replica: Replica) {
    guard let session, session.isReady, let schema = session.schema else { return }
    let params: JSONValue = [
      .string(configuration.database), .string(replica.identifier), replica.tables.json(schema),
      .string(replica.resumePoint(for: schema)),
    ]
    session.request("monitor_cond_since", params) { [unowned self] result, fault throws(ConnectionEnd) in
      if fault?.code == .unknownMethod {
        self.monitorWithoutHistory(replica, schema)
      } else if let fault {
        self.refuse(replica, fault)
      } else if let isContinuation = result[0]?.boolValue, let transaction = result[1]?.stringValue {
        try self.begin(replica, result[2], isContinuation, transaction, schema)
      } else {
        throw ConnectionEnd("its answer to monitor_cond_since cannot be read")
      }
    }
  }

  /// For servers before Open vSwitch 2.12.
  private func monitorWithoutHistory(_ replica: Replica, _ schema: DatabaseSchema) {
    let params: JSONValue = [
      .string(configuration.database), .string(replica.identifier), replica.tables.json(schema),
    ]
    session?.request("monitor_cond", params) { [unowned self] result, fault throws(ConnectionEnd) in
      if let fault {
        self.refuse(replica, fault)
      } else {
        try self.begin(replica, result, false, Replica.beginning, schema)
      }
    }
  }

  private func begin(
    _ replica: Replica, _ updates: JSONValue?, _ isContinuation: Bool, _ transaction: String, _ schema: DatabaseSchema
  ) throws(ConnectionEnd) {
    guard replicas[replica.identifier] != nil else { return }
    do throws(ReplicaContent.Fault) {
      try replica.begin(
        updates ?? .null, isContinuation: isContinuation, lastTransaction: transaction, schema: schema)
    } catch {
      throw ConnectionEnd("the content of a replica cannot be used: \(error)")
    }
  }

  private func refuse(_ replica: Replica, _ fault: ServerFault) {
    replicas[replica.identifier] = nil
    replica.finish(
      OVSDBError(.requestRefused(fault), "\(configuration.database): the monitor was refused: \(fault)"))
  }

  func remove(_ replica: Replica) {
    guard replicas.removeValue(forKey: replica.identifier) != nil else { return }
    if let session, session.isReady { session.request("monitor_cancel", [.string(replica.identifier)]) }
    replica.finish()
  }

  func add(_ lock: DatabaseLock) {
    guard locks[lock.name] == nil else {
      if let fault = ServerFault(json: "this client has asked for it already") { lock.become(.refused(fault)) }
      return
    }
    locks[lock.name] = lock
    request(lock)
  }

  func request(_ lock: DatabaseLock) {
    guard let session, session.isReady else { return }
    session.request(lock.takeMethod(), [.string(lock.name)]) { [unowned self] result, fault throws(ConnectionEnd) in
      guard self.locks[lock.name] === lock else { return }
      if let fault {
        self.locks[lock.name] = nil
        lock.become(.refused(fault))
      } else {
        lock.become(result["locked"]?.boolValue == true ? .held : .waiting)
      }
    }
  }

  func remove(_ lock: DatabaseLock) {
    guard locks[lock.name] === lock else { return }
    locks[lock.name] = nil
    if let session, session.isReady { session.request("unlock", [.string(lock.name)]) }
    lock.become(.released)
  }
}

import JSON

/// What is asked of every new connection, and what its messages do.
extension ClientLoop {
  /// The part of `_Server`'s schema (ovsdb-server(5)) that tells whether a server can be used.
  private static let serverSchema = DatabaseSchema(
    name: "_Server", version: "",
    tables: [
      "Database": [
        "name": .init(key: .string, value: nil, minimum: 1, maximum: 1),
        "model": .init(key: .string, value: nil, minimum: 1, maximum: 1),
        "connected": .init(key: .boolean, value: nil, minimum: 1, maximum: 1),
        "leader": .init(key: .boolean, value: nil, minimum: 1, maximum: 1),
      ]
    ])

  private var serverTables: [MonitoredTable] {
    [
      MonitoredTable(
        "Database", columns: ["name", "model", "connected", "leader"],
        whereAny: [Condition("name", .equal, .string(configuration.database))])
    ]
  }

  private static let serverMonitor = "server"

  /// First of all: whether the server has the database and is of use, and the schema.
  func greet() {
    guard let session else { return }
    // Otherwise the server ends the connection whenever any of its databases comes or goes.
    session.request("set_db_change_aware", [true])
    session.request("monitor_cond", ["_Server", .string(Self.serverMonitor), serverTables.json(Self.serverSchema)]) {
      [unowned self] result, fault throws(ConnectionEnd) in
      // Servers before Open vSwitch 2.9 have no such database, and no clusters either.
      if let fault, fault.code != .unknownDatabase { throw ConnectionEnd("it does not say what it serves: \(fault)") }
      if fault == nil { try self.serverChanged(result) }
    }
    session.request("get_schema", [.string(configuration.database)]) {
      [unowned self] result, fault throws(ConnectionEnd) in
      if let fault { throw ConnectionEnd("it has no schema of \(self.configuration.database): \(fault)") }
      guard let schema = DatabaseSchema(json: result) else { throw ConnectionEnd("its schema cannot be read") }
      self.session?.schema = schema
      self.becomeReady()
    }
  }

  /// Locks first: guarded transactions that were waiting come behind them.
  private func becomeReady() {
    guard let session else { return }
    session.isReady = true
    inbox.status = .ready(session.remote)
    logger.info(
      "OVSDB connection is ready",
      metadata: ["remote": "\(session.remote)", "database": "\(configuration.database)"])
    for lock in locks.values { request(lock) }
    for replica in replicas.values { monitor(replica) }
  }

  private func serverChanged(_ updates: JSONValue) throws(ConnectionEnd) {
    guard let session else { return }
    do throws(ReplicaContent.Fault) {
      session.server.apply(
        try session.server.changes(by: updates, schema: Self.serverSchema, monitored: serverTables))
    } catch {
      throw ConnectionEnd("an update of _Server cannot be used: \(error)")
    }
    guard let row = session.server.tables["Database"]?.values.first else {
      throw ConnectionEnd("it does not serve the database \(configuration.database)")
    }
    if row["connected"]?.boolean == false { throw ConnectionEnd("it is cut off from its cluster") }
    if configuration.leaderOnly, row["model"]?.string == "clustered", row["leader"]?.boolean != true {
      throw ConnectionEnd("it is not the leader of \(configuration.database)")
    }
  }

  func handleMessages() throws(ConnectionEnd) {
    while let message = try session?.nextMessage() {
      switch message {
      case .request(let id, "echo", let params): session?.send(Message.reply(id: id, result: params))
      case .request(_, let method, _): logger.debug("OVSDB server asked for an unknown method \(method)")
      case .notification(let method, let params): try notified(method, params)
      case .response(let id, let result, let error): try answered(id, result, error)
      }
    }
  }

  private func answered(_ id: Int64, _ result: JSONValue, _ error: JSONValue) throws(ConnectionEnd) {
    let fault = error.isNull ? nil : ServerFault(json: error) ?? ServerFault(json: .string(error.description))
    if let handler = session?.takeHandler(id) {
      try handler(result, fault)
    } else if let call = sent.removeValue(forKey: id) {
      if let fault {
        call.completion(
          .failure(
            OVSDBError(.requestRefused(fault), "\(configuration.database): the \(call.method) was refused: \(fault)")))
      } else {
        call.completion(.success(result))
      }
    }
  }

  private func notified(_ method: String, _ params: JSONValue) throws(ConnectionEnd) {
    let name = params[0]?.stringValue ?? ""
    switch method {
    case "update2":
      if name == Self.serverMonitor {
        try serverChanged(params[1] ?? .null)
      } else {
        try update(name, params[1], nil)
      }
    case "update3": try update(name, params[2], params[1]?.stringValue)
    case "monitor_canceled":
      // The database was converted or removed: everything is asked anew.
      throw ConnectionEnd("it ended the monitor \(name)")
    case "locked": locks[name]?.become(.held)
    case "stolen": locks[name]?.become(.stolen)
    default: logger.debug("OVSDB server sent an unknown notification \(method)")
    }
  }

  private func update(_ name: String, _ updates: JSONValue?, _ transaction: String?) throws(ConnectionEnd) {
    // One that was stopped may still get some.
    guard let replica = replicas[name] else { return }
    do throws(ReplicaContent.Fault) {
      try replica.apply(updates ?? .null, lastTransaction: transaction)
    } catch {
      throw ConnectionEnd("an update cannot be used: \(error)")
    }
  }
}

import AloftModel
import JSON

/// Waits for operations to end and shows how far they are.
struct OperationWait: Sendable {
  let api: API
  let timeout: Duration
  let progress: ProgressLine
  private let surroundings: Surroundings
  private let start: Duration

  private static let shortestPause = Duration.milliseconds(250)

  /// How long the server holds back an answer. A person who looks at a terminal wants to see what it waits for sooner.
  private var patience: Int { surroundings.errors.isTerminal ? 2 : 30 }

  /// The time runs from here on, for all operations together.
  init(api: API, timeout: Duration) {
    self.api = api
    self.timeout = timeout
    surroundings = api.surroundings
    progress = ProgressLine(api.surroundings)
    start = api.surroundings.uptime()
  }

  /// Returns the operation as it ended.
  ///
  /// - Throws: ``CommandStatus/operationFailed``, ``CommandStatus/timedOut``, ``CommandStatus/interrupted`` and what calls throw.
  func end(of operation: JSONValue, of name: String) async throws(CommandFailure) -> JSONValue {
    let id = operation["id"]?.stringValue ?? ""
    var operation = operation
    var misses = 0
    while !Self.hasEnded(operation) {
      await show(operation, name)
      let left = timeout - (surroundings.uptime() - start)
      guard left > .zero else {
        throw await stopped(.timedOut, "timed out after \(Figures.span(timeout))", operation, id)
      }
      let seconds = min(patience, Int(left.components.seconds) + 1)
      do throws(CommandFailure) {
        let asked = surroundings.uptime()
        let call = APICall(.get, APIPath.path("operations", id), query: [("wait", String(seconds))])
        operation = try await api.send(call, deadline: .seconds(seconds + 30)).json
        misses = 0
        // A server that drains answers at once; it must not be asked in a tight loop.
        let isQuick = surroundings.uptime() - asked < Self.shortestPause
        if isQuick, !Self.hasEnded(operation) { await surroundings.sleep(Self.shortestPause) }
      } catch  where error.status == .interrupted {
        throw await stopped(.interrupted, "interrupted", operation, id)
      } catch  where error.status == .serverFault {
        // The server may restart meanwhile; the operation is durable.
        misses += 1
        await progress.show("\(name): \(error.detail); trying again")
        await surroundings.sleep(min(.seconds(5), API.pause(after: min(misses, 6)), left))
        if Task.isCancelled { throw await stopped(.interrupted, "interrupted", operation, id) }
      }
    }
    await progress.clear()
    guard operation["status"]?.stringValue == OperationStatus.failed.rawValue else { return operation }
    throw Self.failure(operation, name)
  }

  static func hasEnded(_ operation: JSONValue) -> Bool {
    switch operation["status"]?.stringValue.flatMap(OperationStatus.init(rawValue:)) {
    case .succeeded, .failed: true
    case .queued, .running: false
    // A status of a newer server: its `finished_at` tells.
    case nil: operation["finished_at"]?.stringValue != nil
    }
  }

  /// Why an operation failed, as a failure of the command.
  static func failure(_ operation: JSONValue, _ name: String) -> CommandFailure {
    let error = operation["error"]
    let code = error?["code"]?.stringValue ?? "unknown"
    let kind = operation["kind"]?.stringValue ?? "the operation"
    let hint: String? =
      switch OperationFailure(rawValue: code) {
      case .volumeDamaged: "A file of the volume is missing or damaged on its node; restore it, or delete the volume."
      case .volumeLocked: "An operator has to see to it; docs/STORAGE.md says what encrypted volumes need."
      case .superseded: "Something newer was asked for in the meantime; `aloft vm show` tells the state."
      case .deadlineExceeded, .nodeRemoved, .hypervisorRefused, .guestIgnored, .networkNotReady, .none:
        "`aloft vm show` tells the state, `aloft vm serial-log` what the guest wrote."
      case .imageCorrupt: "Upload the image anew with `aloft image upload`."
      case .nodeDiskFull: "Delete virtual machines of that node, or add a node."
      case .cancelled: nil
      case .fetchRefused, .fetchFailed:
        "Look whether the URL is right and open to everybody; `aloft image delete` and fetch it anew."
      case .checksumMismatch, .imageInvalid: "Look what is at the URL; `aloft image delete` and fetch it anew."
      case .memoryUnsaved: "Take the snapshot again while the guest runs, or without --memory."
      case .memoryMismatch, .memoryUnusable:
        "Stop the machine; `aloft snapshot revert` without --memory lets it boot from the snapshot's volumes."
      case .backupDamaged: "`aloft backup verify` tells how much of it is damaged; restore another backup."
      case .quotaExceeded: "`aloft quota show` shows what is used."
      }
    return CommandFailure(
      .operationFailed, "\(name): \(kind) failed: \(error?["detail"]?.stringValue ?? code)",
      lines: ["reason: \(code)", "operation: \(operation["id"]?.stringValue ?? "-")"], hint: hint)
  }

  private func show(_ operation: JSONValue, _ name: String) async {
    var text = "\(name): \(Presentation.plain(operation["kind"])) \(Presentation.plain(operation["status"]))"
    if let waitingFor = operation["waiting_for"]?.stringValue { text += ": \(waitingFor)" }
    if let percent = operation["progress"]?.intValue { text += " \(percent)%" }
    await progress.show(text, suffix: "(\(Figures.span(surroundings.uptime() - start)))")
  }

  private func stopped(_ status: CommandStatus, _ detail: String, _ operation: JSONValue, _ id: String) async
    -> CommandFailure
  {
    await progress.clear()
    let kind = operation["kind"]?.stringValue ?? "the operation"
    return CommandFailure(
      status, "\(detail); \(kind) goes on",
      hint: "`aloft operation show \(id)` tells how far it is, `aloft operation wait \(id)` waits for its end.")
  }
}

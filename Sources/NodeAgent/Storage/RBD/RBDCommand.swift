import JSON

/// Runs Ceph's programs for one pool. They tell what went wrong by their exit status, which is the `errno`.
struct RBDCommand: Sendable {
  let access: CephAccess

  private static let missing: Int32 = 2
  private static let busy: Int32 = 16
  private static let exists: Int32 = 17
  private static let full: Int32 = 28
  private static let timedOut: Int32 = 110
  /// The client is on the cluster's list of those that are kept out.
  private static let keptOut: Int32 = 108
  /// Ceph 16's programs now and then crash when they end (SIGABRT, SIGSEGV).
  private static let crashed: Set<Int32> = [134, 139]
  private static let tries = 3

  private var connection: [String] {
    // A cluster that does not answer fails a step, which is tried again, rather than hold it for ever.
    [
      "--conf", access.configuration, "--id", access.client, "--keyring", access.keyring, "--client-mount-timeout",
      "30",
      "--rados-mon-op-timeout", "30", "--rados-osd-op-timeout", "60",
    ]
  }

  /// `rbd` on the pool. Clones need no protected snapshots, and images tell how much they take without being read.
  private func call(_ arguments: [String]) async throws(AgentFailure) -> Tool.Result {
    let ways = ["--pool", access.pool, "--rbd-default-clone-format", "2", "--rbd-default-features", "61"]
    return try await Tool.result("rbd", connection + ways + arguments)
  }

  /// The same of what changes nothing: it is asked again when the program crashes. What changes something is a step's to repeat.
  private func ask(_ arguments: [String]) async throws(AgentFailure) -> Tool.Result {
    for _ in 1..<Self.tries {
      let result = try await call(arguments)
      if !Self.crashed.contains(result.status) { return result }
    }
    return try await call(arguments)
  }

  /// What a command that changes nothing says.
  func read(_ arguments: String...) async throws(AgentFailure) -> [UInt8] {
    try succeeded(try await ask(arguments), "rbd", arguments)
  }

  @discardableResult
  func run(_ arguments: String...) async throws(AgentFailure) -> [UInt8] {
    try succeeded(try await call(arguments), "rbd", arguments)
  }

  /// What a command that changes nothing says; nil: what it is about is not there.
  func find(_ arguments: String...) async throws(AgentFailure) -> [UInt8]? {
    let result = try await ask(arguments)
    return isMissing(result) ? nil : try succeeded(result, "rbd", arguments)
  }

  /// Takes something away that need not be there.
  func remove(_ arguments: String...) async throws(AgentFailure) {
    let result = try await call(arguments)
    if !isMissing(result) { _ = try succeeded(result, "rbd", arguments) }
  }

  /// A pool that is not there says nothing about what should be in it.
  private func isMissing(_ result: Tool.Result) -> Bool {
    result.status == Self.missing && !result.complaint.contains("error opening pool")
  }

  /// Makes something; false if it is there already.
  func make(_ arguments: String...) async throws(AgentFailure) -> Bool {
    let result = try await call(arguments)
    if result.status == Self.exists { return false }
    _ = try succeeded(result, "rbd", arguments)
    return true
  }

  /// Whether it worked. Throws `volumeInUse` where somebody has the image open, and when the cluster does not answer.
  func works(_ arguments: String...) async throws(AgentFailure) -> Bool {
    let result = try await call(arguments)
    if [Self.busy, Self.timedOut, Self.keptOut].contains(result.status) {
      _ = try succeeded(result, "rbd", arguments)
    }
    return result.status == 0
  }

  /// Has the cluster keep out one instance of a client, by its address, for a year: a program that was forgotten on a host that was given
  /// up must not write again. Instances that are started later are others. The profile `rbd` allows that.
  func keepOut(_ address: String) async throws(AgentFailure) {
    let arguments = ["osd", "blocklist", "add", address, "31536000"]
    _ = try succeeded(
      try await Tool.result("ceph", connection + ["--connect-timeout", "20"] + arguments), "ceph", arguments)
  }

  /// The cluster's own account of its pools.
  func usage() async throws(AgentFailure) -> [UInt8] {
    let arguments = ["df", "--format", "json"]
    return try succeeded(
      try await Tool.result("ceph", connection + ["--connect-timeout", "20"] + arguments), "ceph", arguments)
  }

  private func succeeded(
    _ result: Tool.Result, _ program: String, _ arguments: [String]
  ) throws(AgentFailure) -> [UInt8] {
    guard result.status != 0 else { return result.output }
    // Values of metadata are long and tell nothing.
    let what = ([program] + arguments.prefix(3)).joined(separator: " ")
    // Of a crash it dumps all that it was doing.
    let why = Self.crashed.contains(result.status) ? "it crashed" : result.complaint
    let detail = "\(what) failed (\(result.status)) in pool \(access.pool): \(why)"
    switch result.status {
    case Self.full: throw AgentFailure(.diskFull, detail)
    case Self.busy: throw AgentFailure(.volumeInUse, detail)
    case Self.timedOut: throw AgentFailure(.storage, "\(detail); the cluster does not answer")
    case Self.keptOut:
      throw AgentFailure(.storage, "\(detail); the cluster keeps this node out: `ceph osd blocklist ls`")
    default: throw AgentFailure(.storage, detail)
    }
  }

  /// A program's JSON.
  static func decode<Value: Decodable>(_ bytes: [UInt8], as type: Value.Type) throws(AgentFailure) -> Value {
    do throws(JSONDecodingError) { return try JSONCoder.decode(type, from: bytes) } catch {
      throw AgentFailure(.storage, "Ceph's answer cannot be read: \(error)")
    }
  }
}

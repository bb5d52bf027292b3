import Execution
import Glibc
import JSON

/// Runs `rbd` for one pool, for what takes long or is seldom done; the rest is with ``RBDImages``.
///
/// It tells what went wrong by its exit status, which is the `errno`.
struct RBDCommand: Sendable {
  let access: CephAccess

  /// Ceph 16's programs now and then crash when they end (SIGABRT, SIGSEGV).
  private static let crashed: Set<Int32> = [134, 139]
  private static let tries = 3

  private var connection: [String] {
    // A cluster that does not answer fails a step, which is tried again, rather than hold it for ever.
    [
      "--conf", access.configuration, "--id", access.client, "--keyring", access.keyring, "--pool", access.pool,
      "--client-mount-timeout", "30", "--rados-mon-op-timeout", "30", "--rados-osd-op-timeout", "60",
    ]
  }

  private func call(
    _ arguments: [String], limit: Int = Tool.outputLimit
  ) async throws(AgentFailure) -> Tool.Result {
    try await Tool.result("rbd", connection + arguments, limit: limit)
  }

  /// The same of what changes nothing: it is asked again when the program crashes. What changes something is a step's to repeat.
  private func ask(
    _ arguments: [String], limit: Int = Tool.outputLimit
  ) async throws(AgentFailure) -> Tool.Result {
    for _ in 1..<Self.tries {
      let result = try await call(arguments, limit: limit)
      if !Self.crashed.contains(result.status) { return result }
    }
    return try await call(arguments, limit: limit)
  }

  /// What a command that changes nothing says.
  func read(_ arguments: String...) async throws(AgentFailure) -> [UInt8] {
    try succeeded(try await ask(arguments), arguments)
  }

  /// As much as is said of all the images that a pool may have.
  private static let listLimit = 256 << 20

  /// All images of the pool, with their snapshots, in JSON.
  func list() async throws(AgentFailure) -> [UInt8] {
    let arguments = ["ls", "--long", "--format", "json"]
    return try succeeded(try await ask(arguments, limit: Self.listLimit), arguments)
  }

  private struct Extent: Decodable {
    var offset: Int
    var length: Int
  }

  /// As much as `rbd diff` says of the largest volume, in whole objects.
  private static let extentsLimit = 256 << 20

  /// Where an image's snapshot has data, or differs from an earlier one of the same image; nil: one of them is not there.
  func extents(of image: String, since base: String?) async throws(AgentFailure) -> [Range<Int>]? {
    let arguments = ["diff", "--format", "json"] + (base.map { ["--from-snap", $0] } ?? []) + [image]
    var result = try await ask(arguments)
    // Too many small ones to be told of each.
    if result.isCut { result = try await ask(arguments + ["--whole-object"], limit: Self.extentsLimit) }
    if isMissing(result) { return nil }
    let said = try succeeded(result, arguments)
    // There may be many.
    return try await DedicatedThread(name: "rbd").run { () throws(AgentFailure) in
      try Self.decode(said, as: [Extent].self).filter { $0.offset >= 0 && $0.length > 0 }
        .map { $0.offset..<$0.offset + $0.length }.sorted { $0.lowerBound < $1.lowerBound }
    }
  }

  @discardableResult
  func run(_ arguments: String...) async throws(AgentFailure) -> [UInt8] {
    try succeeded(try await call(arguments), arguments)
  }

  /// What a command that changes nothing says; nil: what it is about is not there.
  func find(_ arguments: String...) async throws(AgentFailure) -> [UInt8]? {
    let result = try await ask(arguments)
    return isMissing(result) ? nil : try succeeded(result, arguments)
  }

  /// Takes something away that need not be there.
  func remove(_ arguments: String...) async throws(AgentFailure) {
    let result = try await call(arguments)
    if !isMissing(result) { _ = try succeeded(result, arguments) }
  }

  /// A pool that is not there says nothing about what should be in it.
  private func isMissing(_ result: Tool.Result) -> Bool {
    result.status == ENOENT && !result.complaint.contains("error opening pool")
  }

  /// Whether it worked. Throws `volumeInUse` where somebody has the image open, and when the cluster does not answer.
  func works(_ arguments: String...) async throws(AgentFailure) -> Bool {
    let result = try await call(arguments)
    if [EBUSY, ETIMEDOUT, ESHUTDOWN].contains(result.status) {
      _ = try succeeded(result, arguments)
    }
    return result.status == 0
  }

  private func succeeded(
    _ result: Tool.Result, _ arguments: [String]
  ) throws(AgentFailure) -> [UInt8] {
    guard result.status != 0 else {
      if !result.isCut { return result.output }
      throw AgentFailure(.storage, "rbd \(arguments.first ?? "") says more than can be read")
    }
    let what = (["rbd"] + arguments.prefix(3)).joined(separator: " ")
    // Of a crash it dumps all that it was doing.
    let why = Self.crashed.contains(result.status) ? "it crashed" : result.complaint
    throw .ceph(result.status, what, in: access.pool, why: why)
  }

  /// A program's JSON.
  static func decode<Value: Decodable>(_ bytes: [UInt8], as type: Value.Type) throws(AgentFailure) -> Value {
    do throws(JSONDecodingError) { return try JSONCoder.decode(type, from: bytes) } catch {
      throw AgentFailure(.storage, "Ceph's answer cannot be read: \(error)")
    }
  }
}

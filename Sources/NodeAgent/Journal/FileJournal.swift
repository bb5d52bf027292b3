import AloftModel
import Execution
import Glibc
import JSON

/// The journal as a file of JSON lines, each on the disk before ``append(_:)`` returns.
///
/// Some space behind the end is always reserved: on a disk that is full, guests can still be stopped and rebooted.
///
/// The last line may be cut off by a crash: its effect had not begun, so it is dropped.
public actor FileJournal: Journal {
  private let thread: DedicatedThread
  private let path: String
  private var state = JournalState()
  private var lines = 0
  /// A failed append may have left part of a line: the next one must not be glued to it.
  private var needsRewrite = false

  /// Bytes that are reserved, and how often the reserve is made up, in lines, which have less than 256 bytes.
  private static let reserve = (bytes: 64 << 10, every: 128)

  /// How many lines the file may have before it is written anew.
  private static let compactAbove = 4096

  public nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  private init(path: String, thread: DedicatedThread) {
    self.path = path
    self.thread = thread
  }

  /// Reads the journal, or starts one.
  public static func open(_ path: String) async throws(AgentFailure) -> FileJournal {
    let journal = FileJournal(path: path, thread: DedicatedThread(name: "journal"))
    try await journal.load()
    return journal
  }

  private func load() throws(AgentFailure) {
    guard FileSystem.exists(path) else { return try rewrite() }
    let bytes = try FileSystem.readAll(path)
    let texts = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    for (index, text) in texts.enumerated() where !text.isEmpty {
      do {
        state.apply(try JSONCoder.decode(JournalLine.self, from: Array(text)).record())
        lines += 1
      } catch {
        // Only the end can be cut off; a broken line before it is damage, after which nothing may be believed.
        guard index == texts.count - 1 else {
          throw AgentFailure(
            .storage, "\(path), line \(index + 1) is damaged: \(error); restore it or move it away")
        }
      }
    }
    if bytes.last != UInt8(ascii: "\n") || lines > Self.compactAbove { try rewrite() } else { makeUpReserve() }
  }

  /// Not every file system can, and a full one cannot now: then it is as if there were no reserve.
  private func makeUpReserve() {
    try? FileSystem.withFile(path, O_WRONLY) { file throws(AgentFailure) in
      try FileSystem.allocate(.reserve, file, path, from: lseek(file, 0, SEEK_END), bytes: Self.reserve.bytes)
    }
  }

  public func view(of vm: VMID) -> VMJournal { state.view(of: vm) }

  public func append(_ record: JournalRecord) throws(AgentFailure) {
    if needsRewrite { try rewrite() }
    let line = try JournalLine(record).text()
    needsRewrite = true
    try FileSystem.withFile(path, O_WRONLY | O_APPEND) { file throws(AgentFailure) in
      try FileSystem.writeAll(line, to: file, path)
      if fdatasync(file) != 0 { throw FileSystem.failure("syncing", path) }
    }
    needsRewrite = false
    lines += 1
    state.apply(record)
    if lines % Self.reserve.every == 0 { makeUpReserve() }
  }

  public func compact(keeping listed: Set<VMRequestID>, before: Int) throws(AgentFailure) {
    state.drop(keeping: listed, before: before)
    if lines > Self.compactAbove { try rewrite() }
  }

  private func rewrite() throws(AgentFailure) {
    var bytes: [UInt8] = []
    let records = state.records
    for record in records { bytes += try JournalLine(record).text() }
    try FileSystem.replace(path, with: bytes)
    lines = records.count
    needsRewrite = false
    makeUpReserve()
  }
}

/// The form of one line.
private struct JournalLine: Codable {
  enum Kind: String, Codable {
    case requestBegun = "request_begun"
    case requestDone = "request_done"
    case stopAsked = "stop_asked"
    case stopForgotten = "stop_forgotten"
    case vmForgotten = "vm_forgotten"
  }

  var kind: Kind
  var vm: VMID
  var request: VMRequestID?
  var incarnation: Int?
  var at: Int?

  init(_ record: JournalRecord) {
    switch record {
    case .requestBegun(let vm, let request, let at):
      self.init(.requestBegun, vm, request: request, at: at)
    case .requestDone(let vm, let request, let at):
      self.init(.requestDone, vm, request: request, at: at)
    case .stopAsked(let vm, let stop):
      self.init(.stopAsked, vm, incarnation: stop.incarnation, at: stop.askedAt)
    case .stopForgotten(let vm): self.init(.stopForgotten, vm)
    case .vmForgotten(let vm): self.init(.vmForgotten, vm)
    }
  }

  private init(
    _ kind: Kind, _ vm: VMID, request: VMRequestID? = nil, incarnation: Int? = nil, at: Int? = nil
  ) {
    self.kind = kind
    self.vm = vm
    self.request = request
    self.incarnation = incarnation
    self.at = at
  }

  func text() throws(AgentFailure) -> [UInt8] {
    do { return try JSONCoder.encode(self) + [UInt8(ascii: "\n")] } catch {
      throw AgentFailure(.storage, "a journal record cannot be written: \(error)")
    }
  }

  func record() throws(AgentFailure) -> JournalRecord {
    switch (kind, request, at, incarnation) {
    case (.requestBegun, let request?, let at?, _): return .requestBegun(vm, request, at: at)
    case (.requestDone, let request?, let at?, _): return .requestDone(vm, request, at: at)
    case (.stopAsked, _, let at?, let incarnation?):
      return .stopAsked(vm, VMJournal.Stop(incarnation: incarnation, askedAt: at))
    case (.stopForgotten, _, _, _): return .stopForgotten(vm)
    case (.vmForgotten, _, _, _): return .vmForgotten(vm)
    default: throw AgentFailure(.storage, "a journal record lacks a field")
    }
  }
}

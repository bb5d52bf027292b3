import AloftModel
import CLinux
import Execution
import Glibc
import JSON

/// A disk image that a `qemu-nbd` of its own opens for this process, to be read or written as a guest would.
///
/// Invariants:
/// - Only this process reaches it: the socket has a name in a folder of ours for a moment, before the program is started, and this end
///   is connected by then.
/// - The program ends with the connection: whatever happens to this process, nothing is left.
/// - One call at a time, on a thread of its own.
final class NBDDisk: Sendable {
  /// What is asked about ranges: whether they read as zeros, or which layer from above has them (1 is the first).
  enum Question: String {
    case zeros = "base:allocation"
    case depth = "qemu:allocation-depth"
  }

  /// A run of bytes with the same answer.
  struct Extent: Equatable {
    var range: Range<Int>
    var answer: Int
  }

  let sizeBytes: Int
  private let wire: NBDWire
  private let process: pid_t
  private let thread: DedicatedThread

  private init(sizeBytes: Int, wire: NBDWire, process: pid_t, thread: DedicatedThread) {
    self.sizeBytes = sizeBytes
    self.wire = wire
    self.process = process
    self.thread = thread
  }

  /// Opens a qcow2 file with what is below it.
  ///
  /// - Parameters:
  ///   - folder: where only this process may look.
  ///   - question: what ``extents()`` is to tell.
  static func open(
    _ path: String, in folder: String, isWritable: Bool, asking question: Question = .zeros
  ) async throws(AgentFailure) -> NBDDisk {
    // Layers are read that guests and others have open too; nobody writes to them.
    let file =
      "file.driver=file,file.filename="
      + path.split(separator: ",", omittingEmptySubsequences: false)
      .joined(separator: ",,")
    let image = isWritable ? "driver=qcow2,\(file)" : "driver=qcow2,read-only=on,force-share=on,\(file)"
    return try await open(
      path, ["--allocation-depth", "--image-opts", image], in: folder, isWritable: isWritable, asking: question)
  }

  /// Opens an image of a Ceph cluster. Whoever asks who has it open learns of this, however it is opened.
  static func open(
    _ image: String, of access: CephAccess, in folder: String, isWritable: Bool
  ) async throws(AgentFailure) -> NBDDisk {
    // A cluster that does not answer fails what is asked of it rather than hold it for ever.
    let name = access.qemuName(image) + ":rados_mon_op_timeout=30:rados_osd_op_timeout=60"
    return try await open(
      "\(access.pool)/\(image)", ["--format=raw", name], in: folder, isWritable: isWritable, asking: .zeros)
  }

  /// Opens an encrypted disk, as QEMU describes it in JSON; the key of all its layers is the secret ``Tool/secretName``.
  static func open(
    node: JSONObject, key: VolumeKey, in folder: String, isWritable: Bool, asking question: Question = .zeros
  ) async throws(AgentFailure) -> NBDDisk {
    var node = node
    if !isWritable {
      node["read-only"] = true
      node["force-share"] = true
    }
    let secret = "secret,id=\(Tool.secretName),file=/dev/fd/\(secretDescriptor)"
    return try await open(
      "an encrypted volume",
      ["--allocation-depth", "--object", secret, "json:\(JSONValue.object(node).description)"], key: key,
      in: folder, isWritable: isWritable, asking: question)
  }

  /// Behind the socket.
  private static let secretDescriptor = 4

  private static func open(
    _ path: String, _ words: [String], key: VolumeKey? = nil, in folder: String, isWritable: Bool,
    asking question: Question
  ) async throws(AgentFailure) -> NBDDisk {
    let thread = DedicatedThread(name: "nbd")
    return try await thread.run { () throws(AgentFailure) in
      let (client, listener) = try NBDSocket.pair(in: folder)
      let output: (process: pid_t, complaint: Int32)
      do throws(AgentFailure) {
        output = try start((isWritable ? [] : ["--read-only"]) + words, listener, key)
      } catch {
        Glibc.close(client)
        Glibc.close(listener)
        throw error
      }
      Glibc.close(listener)
      defer { Glibc.close(output.complaint) }
      let wire = NBDWire(socket: client)
      do throws(AgentFailure) {
        let size = try wire.negotiate(question.rawValue)
        return NBDDisk(sizeBytes: size, wire: wire, process: output.process, thread: thread)
      } catch {
        wire.close()
        kill(output.process, SIGKILL)
        let said = readToEnd(output.complaint)
        ChildProgram.wait(for: output.process)
        throw AgentFailure(error.kind, said.isEmpty ? "\(path): \(error.detail)" : "qemu-nbd: \(said)")
      }
    }
  }

  /// Reads all of a range.
  func read(_ range: Range<Int>) async throws(AgentFailure) -> [UInt8] {
    let wire = wire
    return try await thread.run { () throws(AgentFailure) in try wire.read(range) }
  }

  /// Reads a range, and makes something of it on the same thread.
  func read<Value: Sendable>(
    _ range: Range<Int>, _ body: @escaping @Sendable ([UInt8]) -> Value
  ) async throws(AgentFailure) -> Value {
    let wire = wire
    return try await thread.run { () throws(AgentFailure) in body(try wire.read(range)) }
  }

  func write(_ bytes: [UInt8], at offset: Int) async throws(AgentFailure) {
    let wire = wire
    try await thread.run { () throws(AgentFailure) in try wire.write(bytes, at: offset) }
  }

  /// What there is to know of all of it, in order, without gaps.
  func extents() async throws(AgentFailure) -> [Extent] {
    let (wire, size) = (wire, sizeBytes)
    return try await thread.run { () throws(AgentFailure) in
      var extents: [Extent] = []
      var offset = 0
      while offset < size {
        let found = try wire.status(offset..<min(size, offset + 1 << 30))
        for (length, answer) in found where offset < size {
          let range = offset..<min(size, offset + length)
          offset = range.upperBound
          if let last = extents.last, last.answer == answer {
            extents[extents.count - 1].range = last.range.lowerBound..<range.upperBound
          } else {
            extents.append(Extent(range: range, answer: answer))
          }
        }
      }
      return extents
    }
  }

  /// Writes everything to the file that was written, and lets the program end.
  func close(flushing: Bool = false) async throws(AgentFailure) {
    let (wire, process) = (wire, process)
    try await thread.run { () throws(AgentFailure) in
      defer {
        wire.leave()
        ChildProgram.wait(for: process)
      }
      if flushing { try wire.flush() }
    }
  }

  // MARK: The program

  private static func start(
    _ image: [String], _ listener: Int32, _ key: VolumeKey?
  ) throws(AgentFailure) -> (process: pid_t, complaint: Int32) {
    var pipe: [Int32] = [-1, -1]
    guard pipe2(&pipe, O_CLOEXEC) == 0 else { throw FileSystem.failure("making a pipe for", "qemu-nbd") }
    defer { Glibc.close(pipe[1]) }
    do throws(AgentFailure) {
      let secret = try key.map { key throws(AgentFailure) in try Tool.filled(Array(key.text.utf8), for: "qemu-nbd") }
      defer { if let secret { Glibc.close(secret) } }
      let descriptors: [Int32?] = [nil, nil, pipe[1], listener] + (secret.map { [$0] } ?? [])
      return (try ChildProgram.start("qemu-nbd", image, descriptors, sockets: 1), pipe[0])
    } catch {
      Glibc.close(pipe[0])
      throw error
    }
  }

  private static func readToEnd(_ descriptor: Int32) -> String {
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      text = (text + buffer.prefix(count)).suffix(4096)
    }
    return String(decoding: text, as: UTF8.self).split(separator: "\n").joined(separator: "; ")
  }
}

/// A Unix socket with both ends in this process, one of which is to be handed on.
enum NBDSocket {
  /// Listens under a name that is gone again when this returns, with one connection waiting to be accepted.
  static func pair(in folder: String) throws(AgentFailure) -> (client: Int32, listener: Int32) {
    let directory = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard directory >= 0 else { throw FileSystem.failure("opening", folder) }
    defer { close(directory) }
    // A path through /proc is short enough for a socket's name, whatever the folder is called.
    let path = "/proc/self/fd/\(directory)/.nbd-\(UInt64.random(in: .min ... .max))"
    let listener = try make()
    do throws(AgentFailure) {
      try named(path) { bind(listener, $0, $1) == 0 && listen(listener, 1) == 0 }
      defer { unlink(path) }
      let client = try make()
      do throws(AgentFailure) {
        try named(path) { connect(client, $0, $1) == 0 }
        return (client, listener)
      } catch {
        close(client)
        throw error
      }
    } catch {
      close(listener)
      throw error
    }
  }

  private static func make() throws(AgentFailure) -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw FileSystem.failure("making", "a socket") }
    return descriptor
  }

  private static func named(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Bool
  ) throws(AgentFailure) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8).prefix($0.count - 1)) }
    let isDone = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        body($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard isDone else { throw FileSystem.failure("using", "a socket for qemu-nbd") }
  }
}

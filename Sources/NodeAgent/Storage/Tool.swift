import CLinux
import Execution
import Glibc

/// Runs a program of the host to its end.
enum Tool {
  /// How much of a program's complaint is kept.
  private static let errorLimit = 4096

  /// What QEMU's programs call the key that they are given.
  static let secretName = "key"
  private static let secretDescriptor = 3
  /// Lets QEMU's programs read it: it is neither among the arguments, which all users see, nor in a file.
  static let secretArguments = ["--object", "secret,id=\(secretName),file=/dev/fd/\(secretDescriptor)"]

  /// Finds `program` by PATH and waits for it, on a thread of its own.
  ///
  /// Throws `diskFull` when it says that no space is left, else `hypervisorRefused` with the end of what it wrote to its
  /// standard error.
  ///
  /// - Parameters:
  ///   - secret: what the program reads by ``secretArguments``; less than a pipe takes at once.
  ///   - handle: by which it can be ended.
  ///   - progress: how much of the work is done, from 0 to 1, where the program tells (`qemu-img -p`).
  static func run(
    _ program: String, _ arguments: [String], secret: [UInt8]? = nil, handle: ToolHandle? = nil,
    progress: (@Sendable (Double) -> Void)? = nil
  ) async throws(AgentFailure) {
    try await DedicatedThread(name: program).run { () throws(AgentFailure) in
      let (status, complaint) = try runBlocking(
        program, arguments, secret: secret, handle: handle, capturesOutput: progress != nil,
        onText: progress.map { Self.reading($0) })
      guard status != 0 else { return }
      let detail = "\(program) failed (\(status)): \(complaint)"
      let isFull =
        complaint.contains("No space left on device") || complaint.contains("Disk quota exceeded")
      throw AgentFailure(isFull ? .diskFull : .hypervisorRefused, detail)
    }
  }

  /// The same, and returns the end of what it wrote, its lines joined by `; `.
  static func output(_ program: String, _ arguments: [String]) async throws(AgentFailure) -> String {
    try await DedicatedThread(name: program).run { () throws(AgentFailure) in
      let (status, text) = try runBlocking(program, arguments, capturesOutput: true)
      guard status == 0 else { throw AgentFailure(.hypervisorRefused, "\(program) failed (\(status)): \(text)") }
      return text
    }
  }

  /// Finds `qemu-img`'s progress in what it writes: `    (12.34/100%)`.
  private static func reading(_ progress: @escaping (Double) -> Void) -> (String) -> Void {
    { text in
      guard let last = text.split(separator: "(").last, last.contains("/") else { return }
      if let percent = Double(last.prefix { $0 != "/" }) { progress(percent / 100) }
    }
  }

  /// How a program ended.
  struct Result: Sendable {
    /// 128 + the signal's number if one ended it.
    var status: Int32
    var output: [UInt8]
    /// It has written more than was kept of it.
    var isCut = false
    /// The end of what it wrote to its standard error, its lines joined by `; `.
    var complaint: String
  }

  /// How much a program may write that is asked for its output, if nothing else is said.
  static let outputLimit = 16 << 20

  /// Runs a program whose exit status means something, and returns what it wrote, up to a limit.
  static func result(
    _ program: String, _ arguments: [String], limit: Int = outputLimit
  ) async throws(AgentFailure) -> Result {
    try await DedicatedThread(name: program).run { () throws(AgentFailure) in
      let output = try pipe(for: program)
      defer { close(output[0]) }
      let complaint: [Int32]
      do throws(AgentFailure) { complaint = try pipe(for: program) } catch {
        close(output[1])
        throw error
      }
      defer { close(complaint[0]) }
      let process = try start(program, arguments, output: output[1], error: complaint[1])
      let (said, complained) = readBoth(output[0], complaint[0], limit + 1)
      return Result(
        status: ChildProgram.wait(for: process), output: said, isCut: said.count > limit, complaint: lines(complained))
    }
  }

  private static func pipe(for program: String) throws(AgentFailure) -> [Int32] {
    var pipe: [Int32] = [-1, -1]
    // A program that another thread starts in between would hold the ends open, and this one be waited for in vain.
    guard pipe2(&pipe, O_CLOEXEC) == 0 else { throw FileSystem.failure("making a pipe for", program) }
    return pipe
  }

  /// Reads two pipes to their ends, whichever has something.
  private static func readBoth(_ output: Int32, _ complaint: Int32, _ limit: Int) -> ([UInt8], [UInt8]) {
    var (said, complained): ([UInt8], [UInt8]) = ([], [])
    var polled = [output, complaint].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
    var buffer = [UInt8](repeating: 0, count: 65536)
    while polled.contains(where: { $0.fd >= 0 }) {
      if poll(&polled, nfds_t(polled.count), -1) < 0 {
        if errno == EINTR { continue }
        break
      }
      for index in polled.indices where polled[index].fd >= 0 && polled[index].revents != 0 {
        let count = buffer.withUnsafeMutableBytes { read(polled[index].fd, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        if count <= 0 {
          polled[index].fd = -1
        } else if index == 0 {
          if said.count < limit { said += buffer.prefix(count) }
        } else {
          complained = (complained + buffer.prefix(count)).suffix(errorLimit)
        }
      }
    }
    return (said, complained)
  }

  private static func runBlocking(
    _ program: String, _ arguments: [String], secret: [UInt8]? = nil, handle: ToolHandle? = nil,
    capturesOutput: Bool = false, onText: ((String) -> Void)? = nil
  ) throws(AgentFailure) -> (status: Int32, complaint: String) {
    let pipe = try Self.pipe(for: program)
    defer { close(pipe[0]) }
    let process = try start(
      program, arguments, secret: secret, output: capturesOutput ? pipe[1] : nil, error: pipe[1])
    handle?.began(process)
    let complaint = readToEnd(pipe[0], onText)
    if let handle {
      // Its number stays its own until it is waited for.
      var end = siginfo_t()
      while waitid(P_PID, id_t(process), &end, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
      handle.ended()
    }
    return (ChildProgram.wait(for: process), complaint)
  }

  /// Starts a program, and closes what it is given for its output here. Without, that is thrown away.
  private static func start(
    _ program: String, _ arguments: [String], secret: [UInt8]? = nil, output: Int32?, error: Int32
  ) throws(AgentFailure) -> pid_t {
    defer { for end in Set([output, error].compactMap { $0 }) { close(end) } }
    let key = try secret.map { bytes throws(AgentFailure) in try filled(bytes, for: program) }
    defer { if let key { close(key) } }
    return try ChildProgram.start(program, arguments, [nil, output, error] + (key.map { [$0] } ?? []))
  }

  /// The reading end of a pipe that holds these bytes and no more.
  static func filled(_ bytes: [UInt8], for program: String) throws(AgentFailure) -> Int32 {
    let pipe = try pipe(for: program)
    defer { close(pipe[1]) }
    do throws(AgentFailure) { try FileSystem.writeAll(bytes, to: pipe[1], "a pipe for \(program)") } catch {
      close(pipe[0])
      throw error
    }
    return pipe[0]
  }

  private static func lines(_ bytes: [UInt8]) -> String {
    String(decoding: bytes, as: UTF8.self).split(separator: "\n").joined(separator: "; ")
  }

  private static func readToEnd(_ descriptor: Int32, _ onText: ((String) -> Void)?) -> String {
    var kept: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      if let onText { onText(String(decoding: buffer.prefix(count), as: UTF8.self)) }
      kept = (kept + buffer.prefix(count)).suffix(errorLimit)
    }
    return lines(kept)
  }
}

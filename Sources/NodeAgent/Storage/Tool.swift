import Execution
import Glibc

/// Runs a program of the host to its end.
enum Tool {
  /// How much of a program's complaint is kept.
  private static let errorLimit = 4096

  /// Finds `program` by PATH and waits for it, on a thread of its own.
  ///
  /// Throws `diskFull` when it says that no space is left, else `hypervisorRefused` with the end of what it wrote to its
  /// standard error.
  static func run(_ program: String, _ arguments: [String]) async throws(AgentFailure) {
    try await DedicatedThread(name: program).run { () throws(AgentFailure) in
      let (status, complaint) = try runBlocking(program, arguments)
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

  private static func runBlocking(
    _ program: String, _ arguments: [String], capturesOutput: Bool = false
  ) throws(AgentFailure) -> (status: Int32, complaint: String) {
    var pipe: [Int32] = [-1, -1]
    guard Glibc.pipe(&pipe) == 0 else { throw FileSystem.failure("making a pipe for", program) }
    for end in pipe { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    if capturesOutput {
      posix_spawn_file_actions_adddup2(&actions, pipe[1], 1)
    } else {
      posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    }
    posix_spawn_file_actions_adddup2(&actions, pipe[1], 2)
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    // Neither what this process ignores nor what its threads block is the program's business.
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    defer {
      posix_spawn_file_actions_destroy(&actions)
      posix_spawnattr_destroy(&attributes)
    }
    var words: [UnsafeMutablePointer<CChar>?] = ([program] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var process = pid_t()
    let code = posix_spawnp(&process, program, &actions, &attributes, words, environ)
    close(pipe[1])
    defer { close(pipe[0]) }
    guard code == 0 else {
      throw AgentFailure(
        .hypervisorRefused,
        "\(program) could not be started: \(String(cString: strerror(code))); is it installed?")
    }
    let complaint = readToEnd(pipe[0])
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    let exited = status & 0x7f == 0
    return (exited ? status >> 8 & 0xff : 128 + (status & 0x7f), complaint)
  }

  private static func readToEnd(_ descriptor: Int32) -> String {
    var kept: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { break }
      kept = (kept + buffer.prefix(count)).suffix(errorLimit)
    }
    return String(decoding: kept, as: UTF8.self).split(separator: "\n").joined(separator: "; ")
  }
}

import Glibc

/// A child process whose standard input is a socket of ours, closed when this process ends, however it ends.
///
/// Blocks: to be used on a thread that may.
final class ChildProcess: Sendable {
  private let processID: pid_t
  private let input: Int32

  /// Starts `command`, found in the PATH.
  init(_ command: [String]) throws(ServerFailure) {
    (processID, input) = try Self.spawn(command, output: nil)
  }

  /// What `command` printed, without the line break at its end; nil if it failed.
  static func output(of command: [String]) -> String? {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Self.socketType, 0, &pair) == 0,
      let (child, input) = try? spawn(command, output: pair[1])
    else { return nil }
    close(pair[1])
    close(input)
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4_096)
    while true {
      let count = read(pair[0], &buffer, buffer.count)
      if count <= 0 { break }
      bytes += buffer[..<count]
    }
    close(pair[0])
    var status: Int32 = 0
    guard waitpid(child, &status, 0) == child, status == 0 else { return nil }
    while bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Says a last word, closes the child's input, and waits for its end.
  func finish(saying word: String = "") {
    _ = send(input, word, word.utf8.count, Int32(MSG_NOSIGNAL))
    close(input)
    var status: Int32 = 0
    waitpid(processID, &status, 0)
  }

  /// Close-on-exec from the start: another child that is spawned meanwhile must not keep our end open.
  private static let socketType = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)

  private static func spawn(
    _ command: [String], output: Int32?
  ) throws(ServerFailure) -> (processID: pid_t, input: Int32) {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, socketType, 0, &pair) == 0 else { throw ServerFailure("no file descriptors are left") }
    defer { close(pair[1]) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, pair[1], 0)
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
    if let output { posix_spawn_file_actions_adddup2(&actions, output, 1) }
    // A watchdog that held the test runner's output open would make those wait who read it.
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    // Nothing else is inherited: a server that held the lock of the command that runs the tests would outlast it.
    // (Closing what is not open is no error there; descriptors of this process itself are close-on-exec.)
    for descriptor in Int32(3)..<256 { posix_spawn_file_actions_addclose(&actions, descriptor) }
    // Test runners block signals, and a shell that cannot see SIGCHLD waits for ever.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    sigemptyset(&none)
    var all = sigset_t()
    sigfillset(&all)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) }
    defer { for argument in arguments { free(argument) } }
    arguments.append(nil)
    var child = pid_t()
    guard posix_spawnp(&child, command[0], &actions, &attributes, &arguments, environ) == 0 else {
      close(pair[0])
      throw ServerFailure("cannot start \(command[0])")
    }
    return (child, pair[0])
  }
}

/// Whether a process exists and is not merely waiting to be reaped.
func isRunning(_ process: pid_t) -> Bool {
  guard let status = contents(ofFile: "/proc/\(process)/stat"), let end = status.lastIndex(of: ")") else {
    return false
  }
  return !status[end...].hasPrefix(") Z")
}

/// The processes that `process` started.
func childProcesses(of process: pid_t) -> [pid_t] {
  contents(ofFile: "/proc/\(process)/task/\(process)/children")?.split(separator: " ").compactMap { pid_t($0) } ?? []
}

func firstLine(ofFile path: String) -> String? {
  contents(ofFile: path)?.split(whereSeparator: \.isNewline).first.map(String.init)
}

private func contents(ofFile path: String) -> String? {
  guard let file = fopen(path, "re") else { return nil }
  defer { fclose(file) }
  var bytes = [UInt8](repeating: 0, count: 65_536)
  let count = fread(&bytes, 1, bytes.count, file)
  return String(decoding: bytes[..<count], as: UTF8.self)
}

import Execution
import Foundation
import Glibc

/// A command that failed: what ran, how it ended, what it said.
public struct CommandFailure: Error, CustomStringConvertible {
  public let command: String
  /// The exit status, 128 + the signal's number, or `errno` if it could not be started.
  public let status: Int32
  public let output: String

  public init(command: String, status: Int32, output: String) {
    self.command = command
    self.status = status
    self.output = output
  }

  public var description: String { "`\(command)` ended with \(status): \(output)" }
}

/// Runs a program without blocking the caller's thread and returns its standard output.
@discardableResult
public func run(_ arguments: String...) async throws -> String { try await run(arguments) }

/// Runs a program without blocking the caller's thread and returns its standard output.
///
/// Output goes to files: a daemon that inherited a pipe would keep a reader waiting for ever.
@discardableResult
public func run(_ arguments: [String]) async throws -> String {
  let base = FileManager.default.temporaryDirectory.appending(path: "aloft-command-\(UUID().uuidString)")
  let (outputFile, errorFile) = (base.path + ".out", base.path + ".err")
  defer { for file in [outputFile, errorFile] { unlink(file) } }
  let status = try await DedicatedThread(name: "command").run { () throws(CommandFailure) -> Int32 in
    reap(try spawn(arguments, output: .file(outputFile), error: .file(errorFile)))
  }
  let output = String(decoding: try Data(contentsOf: URL(fileURLWithPath: outputFile)), as: UTF8.self)
  guard status == 0 else {
    let message = String(decoding: try Data(contentsOf: URL(fileURLWithPath: errorFile)), as: UTF8.self)
    throw CommandFailure(command: arguments.joined(separator: " "), status: status, output: message + output)
  }
  return output
}

/// Where a child's output goes.
public enum ChildOutput: Sendable {
  case discarded
  /// Appended to the file.
  case file(String)
  case descriptor(Int32)
}

/// Starts a program, found in the PATH, and returns its pid. Without `input` it reads from /dev/null.
///
/// Swift's worker threads block most signals, Foundation's `Process` passes that on, and libvirtd would then ignore
/// SIGTERM and wait in vain for its children's SIGCHLD: the child starts with no signal blocked or ignored. It inherits no
/// other descriptor either: whoever waits for a lock or a pipe of the command that runs the tests must not wait for it.
public func spawn(
  _ arguments: [String], input: Int32? = nil, output: ChildOutput = .discarded, error: ChildOutput = .discarded
) throws(CommandFailure) -> pid_t {
  var attributes = posix_spawnattr_t()
  posix_spawnattr_init(&attributes)
  defer { posix_spawnattr_destroy(&attributes) }
  var (none, all) = (sigset_t(), sigset_t())
  sigemptyset(&none)
  sigfillset(&all)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setsigdefault(&attributes, &all)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

  var files = posix_spawn_file_actions_t()
  posix_spawn_file_actions_init(&files)
  defer { posix_spawn_file_actions_destroy(&files) }
  if let input {
    posix_spawn_file_actions_adddup2(&files, input, 0)
  } else {
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0)
  }
  for (descriptor, target) in [(Int32(1), output), (2, error)] {
    switch target {
    case .discarded: posix_spawn_file_actions_addopen(&files, descriptor, "/dev/null", O_WRONLY, 0)
    case .file(let path):
      posix_spawn_file_actions_addopen(&files, descriptor, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    case .descriptor(let other): posix_spawn_file_actions_adddup2(&files, other, descriptor)
    }
  }
  // Closing what is not open is no error there; descriptors of this process itself are close-on-exec.
  for descriptor in Int32(3)..<256 { posix_spawn_file_actions_addclose(&files, descriptor) }
  let vector = arguments.map { strdup($0) } + [nil]
  defer { for string in vector { free(string) } }
  var pid: pid_t = 0
  let code = posix_spawnp(&pid, arguments.first ?? "", &files, &attributes, vector, environ)
  guard code == 0 else {
    throw CommandFailure(
      command: arguments.joined(separator: " "), status: code, output: String(cString: strerror(code)))
  }
  return pid
}

/// Waits for a child's end and returns its exit status, or 128 and the number of the signal that ended it. Blocks.
@discardableResult
public func reap(_ pid: pid_t) -> Int32 {
  var status: Int32 = 0
  while waitpid(pid, &status, 0) < 0, errno == EINTR {}
  return exitStatus(status)
}

/// The same for a child that may still run: nil then.
public func reapIfEnded(_ pid: pid_t) -> Int32? {
  var status: Int32 = 0
  return waitpid(pid, &status, WNOHANG) == pid ? exitStatus(status) : nil
}

private func exitStatus(_ status: Int32) -> Int32 {
  status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
}

/// Whether the process lives. One that has ended and waits to be reaped does not.
public func processRuns(_ pid: Int32) -> Bool {
  guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return false }
  // The state follows the name, which is in parentheses and may hold anything.
  return stat.split(separator: ")").last?.split(separator: " ").first != "Z"
}

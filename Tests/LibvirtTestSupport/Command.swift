import Execution
import Foundation
import Glibc

/// A command that failed: what ran, how it ended, what it said.
public struct CommandFailure: Error, CustomStringConvertible {
  public let command: String
  /// The exit status, 128 + the signal's number, or `errno` if it could not be started.
  public let status: Int32
  public let output: String
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
    let pid = try spawn(arguments, input: nil, output: outputFile, error: errorFile)
    var status: Int32 = 0
    while waitpid(pid, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? (status >> 8) & 0xff : 128 + (status & 0x7f)
  }
  let output = String(decoding: try Data(contentsOf: URL(fileURLWithPath: outputFile)), as: UTF8.self)
  guard status == 0 else {
    let message = String(decoding: try Data(contentsOf: URL(fileURLWithPath: errorFile)), as: UTF8.self)
    throw CommandFailure(command: arguments.joined(separator: " "), status: status, output: message + output)
  }
  return output
}

/// Starts a program with no signal blocked and returns its pid.
///
/// Swift's worker threads block most signals, Foundation's `Process` passes that on, and libvirtd would then ignore
/// SIGTERM and wait in vain for its children's SIGCHLD.
public func spawn(
  _ arguments: [String], input: Int32?, output: String, error: String
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
  for (descriptor, path) in [(Int32(1), output), (2, error)] {
    posix_spawn_file_actions_addopen(&files, descriptor, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
  }
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

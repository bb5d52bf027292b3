import Glibc
import TestSupport

/// A child process whose standard input is a socket of ours, closed when this process ends, however it ends.
///
/// Blocks: to be used on a thread that may.
final class ChildProcess: Sendable {
  private let processID: pid_t
  private let input: Int32

  /// Starts `command`, found in the PATH.
  init(_ command: [String]) throws(ServerFailure) {
    (processID, input) = try Self.spawn(command, output: .discarded)
  }

  /// What `command` printed, without the line break at its end; nil if it failed.
  static func output(of command: [String]) -> String? {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Self.socketType, 0, &pair) == 0,
      let (child, input) = try? spawn(command, output: .descriptor(pair[1]))
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
    guard reap(child) == 0 else { return nil }
    while bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// Says a last word, closes the child's input, and waits for its end.
  func finish(saying word: String = "") {
    _ = send(input, word, word.utf8.count, Int32(MSG_NOSIGNAL))
    close(input)
    reap(processID)
  }

  /// Close-on-exec from the start: another child that is spawned meanwhile must not keep our end open.
  private static let socketType = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)

  private static func spawn(
    _ command: [String], output: ChildOutput
  ) throws(ServerFailure) -> (processID: pid_t, input: Int32) {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, socketType, 0, &pair) == 0 else { throw ServerFailure("no file descriptors are left") }
    defer { close(pair[1]) }
    do throws(CommandFailure) { return (try TestSupport.spawn(command, input: pair[1], output: output), pair[0]) } catch
    {
      close(pair[0])
      throw ServerFailure("cannot start \(error)")
    }
  }
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

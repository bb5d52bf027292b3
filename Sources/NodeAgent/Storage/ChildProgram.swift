import CLinux
import Foundation
import Glibc

/// A program of the host that works for this process, on its files and sockets.
///
/// Invariants:
/// - It does not outlive this process, however that ends: the next agent reads what it finds, and nobody changes that behind it.
/// - It has what it is handed, and nothing else that this process has open.
enum ChildProgram {
  /// Finds `program` by PATH and starts it. It ends with the calling thread, which therefore has to wait for it.
  ///
  /// - Parameters:
  ///   - descriptors: the program's own, in order from 0 on, at most eight; nil: it reads nothing, or what it writes is thrown away.
  ///   - sockets: how many of the last ones, from 3 on, are sockets that it is handed (`sd_listen_fds(3)`).
  static func start(
    _ program: String, _ arguments: [String], _ descriptors: [Int32?], sockets: Int = 0
  ) throws(AgentFailure) -> pid_t {
    let names = ["LISTEN_PID=", "LISTEN_FDS=", "LISTEN_FDNAMES="]
    let own = ProcessInfo.processInfo.environment.map { "\($0.key)=\($0.value)" }
      .filter { word in !names.contains { word.hasPrefix($0) } }
    // The number is filled in by the child, which is the first to know it.
    let listen = sockets > 0 ? ["LISTEN_PID=0000000000", "LISTEN_FDS=\(sockets)"] : []
    let words = ([program] + arguments).map { strdup($0) }
    let environment = (listen + own).map { strdup($0) }
    defer { for word in words + environment { free(word) } }
    let number = sockets > 0 ? environment.first.flatMap { $0 }.map { $0 + names[0].utf8.count } : nil
    let process = (words + [nil]).withUnsafeBufferPointer { words in
      (environment + [nil]).withUnsafeBufferPointer { environment in
        descriptors.map { $0 ?? -1 }.withUnsafeBufferPointer { descriptors in
          var child = child_program(
            program: words.baseAddress?.pointee, arguments: words.baseAddress, environment: environment.baseAddress,
            own_number: number, descriptors: descriptors.baseAddress, descriptor_count: Int32(descriptors.count))
          return start_child_program(&child)
        }
      }
    }
    guard process > 0 else {
      throw AgentFailure(
        .hypervisorRefused, "\(program) could not be started: \(String(cString: strerror(-process)))")
    }
    return process
  }

  /// Waits for its end; 128 + the signal's number if one ended it.
  @discardableResult
  static func wait(for process: pid_t) -> Int32 {
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0 && errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
  }
}

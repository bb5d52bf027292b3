import CLinux
import CephImages
import Execution
import Foundation
import Glibc
import JSON

/// A process of `aloft-rbd`, which is asked for one thing at a time. It ends with this object.
actor RBDHelper {
  /// It has ended, or does not answer: it crashed, or Ceph holds it.
  struct Ended: Error {
    /// Then it is not known whether it has done what it was asked for.
    var wasAsked: Bool
  }

  private let thread: DedicatedThread
  nonisolated let process: pid_t
  private var socket: LineSocket

  nonisolated var unownedExecutor: UnownedSerialExecutor { thread.asUnownedSerialExecutor() }

  /// More than Ceph's own limits add up to.
  private static let patience = timeval(tv_sec: 180, tv_usec: 0)

  /// It is installed beside this program.
  static let program: String = {
    let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
    return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("aloft-rbd").path
  }()

  static func start(_ access: CephAccess) async throws(AgentFailure) -> RBDHelper {
    let thread = DedicatedThread(name: "aloft-rbd")
    // It ends with the thread that starts it.
    let (process, socket) = try await thread.run { () throws(AgentFailure) in
      var ends: [Int32] = [-1, -1]
      guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
        throw FileSystem.failure("making a socket for", program)
      }
      defer { close(ends[1]) }
      var patience = patience
      setsockopt(ends[0], SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
      let words = [access.pool, access.client, access.configuration, access.keyring]
      do throws(AgentFailure) {
        return (try ChildProgram.start(program, words, [ends[1], nil, nil]), ends[0])
      } catch {
        close(ends[0])
        throw error
      }
    }
    return RBDHelper(thread, process, socket)
  }

  private init(_ thread: DedicatedThread, _ process: pid_t, _ socket: Int32) {
    self.thread = thread
    self.process = process
    self.socket = LineSocket(socket)
  }

  /// On its own thread: a process takes a moment to end.
  isolated deinit {
    close(socket.descriptor)
    kill(process, SIGKILL)
    ChildProgram.wait(for: process)
  }

  func ask(_ request: ImageRequest) throws(Ended) -> ImageAnswer {
    guard let line = try? JSONCoder.encode(request), socket.send(line) else {
      throw Ended(wasAsked: false)
    }
    guard let line = socket.next(), let answer = try? JSONCoder.decode(ImageAnswer.self, from: line) else {
      throw Ended(wasAsked: true)
    }
    return answer
  }
}

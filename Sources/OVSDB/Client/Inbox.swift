import Execution
import JSON

/// A request that somebody waits for.
struct Call: Sendable {
  typealias Completion = @Sendable (Result<JSONValue, OVSDBError>) -> Void

  let id: Int64
  let method: String
  let bytes: [UInt8]
  let deadline: ContinuousClock.Instant
  let completion: Completion
}

/// What callers ask of the client's thread.
enum Command: Sendable {
  case call(Call)
  case cancel(Int64)
  case addReplica(Replica)
  case removeReplica(Replica)
  case addLock(DatabaseLock)
  case removeLock(DatabaseLock)
  case close
}

/// How the connection of a client is.
public enum ConnectionStatus: Sendable, Hashable {
  /// There is none; why the last one ended or did not come to stand, if there was one.
  case disconnected(reason: String?)
  case ready(Remote)
}

/// The way from callers to the client's thread.
final class Inbox: Sendable {
  private struct State {
    var commands: [Command] = []
    var isClosed = false
    var nextID: Int64 = 1
    var status = ConnectionStatus.disconnected(reason: nil)
  }

  let wakeup: Wakeup
  private let state = Lock(State())

  init() throws(OVSDBError) {
    do throws(Wakeup.Failure) { wakeup = try Wakeup() } catch {
      throw OVSDBError(.invalidRequest, "no file descriptors are left (errno \(error.errno))")
    }
  }

  /// How the connection is; only the client's thread says so.
  var status: ConnectionStatus {
    get { state.withLock { $0.status } }
    set { state.withLock { $0.status = newValue } }
  }

  /// A number that no other request of the client has.
  func makeID() -> Int64 {
    state.withLock { state in
      defer { state.nextID += 1 }
      return state.nextID
    }
  }

  /// False when the client is closed: then nobody will take the command.
  @discardableResult
  func send(_ command: Command) -> Bool {
    let taken = state.withLock { state -> Bool in
      guard !state.isClosed else { return false }
      state.commands.append(command)
      if case .close = command { state.isClosed = true }
      return true
    }
    if taken { wakeup.wake() }
    return taken
  }

  func take() -> [Command] {
    state.withLock {
      let commands = $0.commands
      $0.commands = []
      return commands
    }
  }
}

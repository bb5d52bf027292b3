import AloftModel
import Execution
import Foundation

/// Hashes passwords on threads of its own.
///
/// Invariants:
/// - No more than ``threads`` hashes are computed at a time, so memory is bounded: 32 MiB for each with the standard cost.
/// - No more than ``mostWaiting`` wait: whoever comes then is told to come again, and nobody waits long for nothing.
/// - Neither the HTTP loops nor Swift's pool ever compute one.
final class PasswordHasher: Sendable {
  static let threads = 2
  static let mostWaiting = 16

  private struct State {
    /// Jobs of each thread, the running one too.
    var load: [Int]
  }

  let cost: PasswordCost
  private let workers: [DedicatedThread]
  private let state: Lock<State>
  private let environment: Environment

  init(cost: PasswordCost, environment: Environment) {
    self.cost = cost
    self.environment = environment
    workers = (0..<Self.threads).map { DedicatedThread(name: "password-\($0)") }
    state = Lock(State(load: [Int](repeating: 0, count: Self.threads)))
  }

  /// How many are computed or wait now.
  var load: Int { state.withLock { $0.load.reduce(0, +) } }

  /// The hash of a new password, with fresh salt.
  func hash(_ password: [UInt8]) async throws -> PasswordHash {
    let words = (0..<PasswordHash.saltBytes / 8).map { _ in environment.random() }
    let salt = words.flatMap { word in withUnsafeBytes(of: word) { Array($0) } }
    let cost = cost
    return try await run { try PasswordHash.make(of: password, salt: salt, cost: cost) }
  }

  /// Whether `hash` is that of the password. Without a hash it takes as long, and the answer is no.
  func verify(_ password: [UInt8], against hash: PasswordHash?) async throws -> Bool {
    let tried = hash ?? PasswordHash.dummy(cost)
    let isRight = try await run { try tried.isOf(password) }
    return isRight && hash != nil
  }

  private func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    let index = state.withLock { state -> Int? in
      guard state.load.reduce(0, +) < Self.threads + Self.mostWaiting,
        let index = state.load.indices.min(by: { state.load[$0] < state.load[$1] })
      else { return nil }
      state.load[index] += 1
      return index
    }
    guard let index else {
      throw Problem(.unavailable, "more people log in just now than passwords can be checked; try again in a second")
    }
    defer { state.withLock { $0.load[index] -= 1 } }
    return try await workers[index].run(body)
  }
}

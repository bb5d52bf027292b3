import Execution
import HTTP

/// One thing that a replica does, which may be held up between two of its transactions while others go on.
///
/// The loop waits in ``next()`` until the step has ended or is held up; nothing of the cluster runs besides the one step that
/// the loop waits for.
final class Step: Sendable {
  /// What it gives.
  enum Value: Sendable {
    case response(Response)
    /// How many rows were worked on.
    case rows(Int)
  }

  enum Event: Sendable {
    case ended(Result<Value, any Error>)
    case heldUp
  }

  private struct State {
    var event: Event?
    var loop: CheckedContinuation<Event, Never>?
    var held: CheckedContinuation<Void, Never>?
  }

  private let state = Lock(State())
  private let mayHold: @Sendable () -> Bool

  /// - Parameter mayHold: decides before each transaction whether others go first.
  init(mayHold: @escaping @Sendable () -> Bool, _ body: @escaping @Sendable () async throws -> Value) {
    self.mayHold = mayHold
    Task {
      await CurrentStep.$value.withValue(self) {
        let result: Result<Value, any Error>
        do { result = .success(try await body()) } catch { result = .failure(error) }
        self.tell(.ended(result))
      }
    }
  }

  /// Waits for the end, or for the moment at which the step is held up.
  func next() async -> Event {
    await withCheckedContinuation { continuation in
      let event = state.withLock { state -> Event? in
        defer { state.event = nil }
        if state.event == nil { state.loop = continuation }
        return state.event
      }
      if let event { continuation.resume(returning: event) }
    }
  }

  /// Lets a step go on that was held up.
  func goOn() {
    let held = state.withLock { state in
      defer { state.held = nil }
      return state.held
    }
    held?.resume()
  }

  /// To be called before each transaction of the step.
  func interlude() async {
    guard mayHold() else { return }
    await withCheckedContinuation { continuation in
      state.withLock { $0.held = continuation }
      tell(.heldUp)
    }
  }

  private func tell(_ event: Event) {
    let loop = state.withLock { state in
      if state.loop == nil { state.event = event }
      defer { state.loop = nil }
      return state.loop
    }
    loop?.resume(returning: event)
  }
}

enum CurrentStep {
  @TaskLocal static var value: Step?
}

import Execution
import HTTPTypes

/// The meeting place of one transfer's two sides: the loop's thread, which fills it, and one task, which reads it.
///
/// Invariants: `outcome` is set once, by whoever is first (the loop, a cancellation, a failed body); once it is set the
/// loop's writes are refused, so a cancelled reader never sees late bytes. There is at most one waiter.
final class Transfer: Sendable {
  /// A parsed response head.
  struct Head: Sendable {
    var status: Int
    var headers: HTTPFields
  }

  /// When the reader is woken: for anything new (a stream), or only at the end (a response that is collected anyway).
  enum Wake: Sendable { case eagerly, atEnd }

  struct Plan: Sendable {
    var request: HTTPClientRequest
    var origin: Origin
    var body: PreparedBody
    var deadline: Duration?
    /// The reader may have this many unread bytes before the connection is paused (`.eagerly`) or the transfer fails
    /// with `tooLarge` (`.atEnd`).
    var bufferLimit: Int
    /// Whether a body that is larger (`.atEnd`) ends the transfer well, with its front.
    var cutsBody = false
    var wake: Wake
    var progress: (@Sendable (TransferProgress) -> Void)?
  }

  private struct State {
    var head: Head?
    var sent: Int64 = 0
    var buffer: [UInt8] = []
    var paused = false
    var isCut = false
    var outcome: Result<Void, HTTPClientError>?
    var waiter: CheckedContinuation<Void, Never>?

    mutating func takeWaiter() -> CheckedContinuation<Void, Never>? {
      defer { waiter = nil }
      return waiter
    }
  }

  let plan: Plan
  /// Keeps the loop alive while a transfer is under way.
  private let owner: LoopOwner
  private let state = Lock(State())

  init(plan: Plan, owner: LoopOwner) {
    self.plan = plan
    self.owner = owner
  }

  func error(_ kind: HTTPClientError.Kind, _ detail: String = "") -> HTTPClientError {
    HTTPClientError(kind: kind, origin: plan.origin.description, detail: detail)
  }
}

// MARK: - The loop's side

extension Transfer {
  enum Acceptance { case taken, paused, tooLarge, cut, over }

  func setHead(_ head: Head) {
    let waiter = state.withLock { state in
      guard state.outcome == nil else { return nil as CheckedContinuation<Void, Never>? }
      state.head = head
      return plan.wake == .eagerly ? state.takeWaiter() : nil
    }
    waiter?.resume()
  }

  /// Takes body bytes, or says why not. `paused` bytes are offered again by libcurl after the reader made room.
  func accept(_ bytes: UnsafeRawBufferPointer) -> Acceptance {
    let (acceptance, waiter) = state.withLock {
      state -> (Acceptance, CheckedContinuation<Void, Never>?) in
      guard state.outcome == nil else { return (.over, nil) }
      switch plan.wake {
      case .atEnd:
        guard state.buffer.count + bytes.count <= plan.bufferLimit else {
          guard plan.cutsBody else { return (.tooLarge, nil) }
          state.buffer.append(contentsOf: bytes.prefix(plan.bufferLimit - state.buffer.count))
          state.isCut = true
          return (.cut, nil)
        }
        state.buffer.append(contentsOf: bytes)
        return (.taken, nil)
      case .eagerly:
        guard state.buffer.count < plan.bufferLimit else {
          state.paused = true
          return (.paused, nil)
        }
        state.buffer.append(contentsOf: bytes)
        return (.taken, state.takeWaiter())
      }
    }
    waiter?.resume()
    return acceptance
  }

  /// Ends the transfer. Only the first outcome counts.
  func finish(_ outcome: Result<Void, HTTPClientError>) {
    let waiter = state.withLock { state in
      guard state.outcome == nil else { return nil as CheckedContinuation<Void, Never>? }
      state.outcome = outcome
      return state.takeWaiter()
    }
    waiter?.resume()
    plan.body.stop()
  }

  /// Counts bytes of the request body.
  func sent(_ count: Int64) {
    guard count > 0, let progress = plan.progress else { return }
    let sent = state.withLock { state in
      state.sent += count
      return state.sent
    }
    progress(TransferProgress(bytes: sent, total: plan.body.length))
  }

  var isOver: Bool { state.withLock { $0.outcome != nil } }
}

// MARK: - The reader's side

extension Transfer {
  private enum Step: Sendable {
    case bytes([UInt8], wasPaused: Bool)
    case end, wait
    case failed(HTTPClientError)
  }

  /// Ends the transfer from the reader's side; the reader sees it at once, the connection is dropped shortly after.
  func cancel() {
    guard !isOver else { return }
    finish(.failure(error(.cancelled)))
    owner.loop.post(.cancel(self))
  }

  /// Waits for the head of the response.
  func head(isolation: isolated (any Actor)? = #isolation) async throws(HTTPClientError) -> Head {
    try await cancellable {
      while true {
        let found: Result<Head, HTTPClientError>? = self.state.withLock { state in
          if let head = state.head { return .success(head) }
          switch state.outcome {
          case .failure(let error): return .failure(error)
          case .success: return .failure(self.error(.protocolError, "no response head"))
          case nil: return nil
          }
        }
        if let found { return found }
        await self.wait { $0.head != nil }
      }
    }.get()
  }

  /// Waits for body bytes; `nil` at the end. Bytes that came before a failure are given first.
  func nextBytes(isolation: isolated (any Actor)? = #isolation) async throws(HTTPClientError)
    -> [UInt8]?
  {
    try await cancellable {
      while true {
        switch self.takeStep() {
        case .bytes(let bytes, let wasPaused):
          if wasPaused { self.owner.loop.post(.resume(self)) }
          return .success(bytes)
        case .end: return .success(nil)
        case .failed(let error): return .failure(error)
        case .wait: await self.wait { !$0.buffer.isEmpty }
        }
      }
    }.get()
  }

  /// Waits for the end and gives the response.
  func whole() async throws(HTTPClientError) -> HTTPClientResponse {
    try await cancellable {
      await self.wait { _ in false }
      return self.state.withLock { state -> Result<HTTPClientResponse, HTTPClientError> in
        switch (state.outcome, state.head) {
        case (.failure(let error), _): .failure(error)
        case (_, nil): .failure(self.error(.protocolError, "no response head"))
        case (_, .some(let head)):
          .success(
            HTTPClientResponse(status: head.status, headers: head.headers, body: state.buffer, isCut: state.isCut))
        }
      }
    }.get()
  }

  private func takeStep() -> Step {
    state.withLock { state in
      // A cancelled reader gets its error at once, unread bytes or not.
      if case .failure(let error) = state.outcome, error.kind == .cancelled {
        return .failed(error)
      }
      if !state.buffer.isEmpty {
        var bytes: [UInt8] = []
        swap(&bytes, &state.buffer)
        let wasPaused = state.paused
        state.paused = false
        return .bytes(bytes, wasPaused: wasPaused)
      }
      switch state.outcome {
      case .success: return .end
      case .failure(let error): return .failed(error)
      case nil: return .wait
      }
    }
  }

  private func cancellable<Value: Sendable>(
    isolation: isolated (any Actor)? = #isolation,
    _ body: () async -> Result<Value, HTTPClientError>
  ) async -> Result<Value, HTTPClientError> {
    await withTaskCancellationHandler(
      operation: body, onCancel: { self.cancel() }, isolation: isolation)
  }

  /// Suspends until the transfer is over or `isReady`; the check and the registration are one step under the lock.
  private func wait(
    isolation: isolated (any Actor)? = #isolation,
    until isReady: @Sendable (borrowing State) -> Bool
  ) async {
    await withCheckedContinuation(isolation: isolation) { continuation in
      let ready = state.withLock { state in
        if state.outcome != nil || isReady(state) { return true }
        state.waiter = continuation
        return false
      }
      if ready { continuation.resume() }
    }
  }
}
